// The operator's page. How an operation went is only ever read off its record: nothing here takes
// an answered request, or another version, for a success. Whatever is shown is set as text.

const STEPS = [
  ['resolving', 'Find', 'which release is it?'],
  ['staging', 'Fetch', 'putting it beside what runs'],
  ['verifying', 'Verify', 'is it whole?'],
  ['preflight', 'Try out', 'trying it on a spare socket'],
  ['handing-over', 'Hand over', 'handing it to the launcher'],
  ['proving', 'Prove', 'it serves, on probation'],
];
const ENDS = ['succeeded', 'failed', 'redeploy-required'];
const KEY = 'parachute-hub:' + new URL('.', location).pathname; // two hubs may share an origin
const ANSWER_MS = 10e3;
const PLAN_MS = 45e3;
const SILENCE_MS = 40e3; // the hub says something at least every 15 s
const LONG_MS = 8e3; // from here on a lost connection is worth a sentence
const FEW = 6;

let token = '';
let hub, plan, record, shown, first; // `shown`: the record's lines in the log; `first`: see drawHub
let past = [];
let live = false, ever = false, lostAt = 0, heardAt = 0, trouble = '';
let channel = '', asking = 0, pressing = false, awaited = '', watched = '', allPast = false;
let turn = 0; // goes up with every signing in or out: what an earlier one asked for is dropped
let stream = new AbortController();
let wake = () => {};

const $ = (id) => document.getElementById(id);
const show = (id, on) => { $(id).hidden = !on; };
const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
const say = (id, text) => { put(id, text); show(id, text); };
const open = () => record && !ENDS.includes(record.phase);
const onTrial = () => open() && record.phase === 'restarting';
const capital = (text) => /^[a-z]+[ ,]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;

function make(tag, content = '', className = '') {
  const element = document.createElement(tag);
  element.append(...[content].flat());
  if (className) element.className = className;
  return element;
}

function list(id, lines) {
  const texts = lines.filter(Boolean).map(capital);
  show(id, texts.length);
  if (texts.join('\n') !== [...$(id).children].map((item) => item.textContent).join('\n')) {
    $(id).replaceChildren(...texts.map((text) => make('li', text)));
  }
}

function time(text) {
  const date = new Date(text);
  const two = (number) => String(Math.floor(number)).padStart(2, '0');
  const east = -date.getTimezoneOffset();
  const offset = (east < 0 ? '-' : '+') + two(Math.abs(east) / 60) + ':' + two(Math.abs(east) % 60);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const element = make('time', date > 0 ? `${day} ${clock} ${offset}` : 'at an unknown time');
  element.dateTime = text;
  return element;
}

function size({ done, total, unit }) {
  const one = (n) => unit === 'bytes' ? `${(n / 1e6).toFixed(n < 1e7 ? 2 : 0)} MB` : `${n} ${unit}`;
  return total ? `${one(done)} of ${one(total)}` : one(done);
}

// --- asking the hub ------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(status, body) {
    super(body?.error_description || `the hub answered ${status}`);
    this.status = status;
  }
}

async function ask(path, { body, signal = AbortSignal.timeout(ANSWER_MS), bearer = token } = {}) {
  const headers = bearer ? { authorization: `Bearer ${bearer}` } : {};
  const method = body ? 'POST' : 'GET';
  const sent = body && JSON.stringify(body);
  const answer = await fetch(path, { method, headers, body: sent, signal, cache: 'no-store' });
  if (answer.ok) return answer;
  throw new Refusal(answer.status, await answer.json().catch(() => null));
}

const sentence = (error) => error.status ? capital(error.message) : 'The hub does not answer.';

function pause(delay) {
  return new Promise((done) => {
    wake = done;
    setTimeout(done, delay * (0.75 + Math.random() / 2));
  });
}

const slower = (delay) => Math.min(delay * 2, 3000);

// A release on trial may answer anything, and so "who are you?" too: that signs nobody out.
function turnedAway(error) {
  if (error.status !== 401 || onTrial()) return false;
  signedOut('Your sign-in has expired, or was taken back. Please sign in again.');
  return true;
}

async function load(path, take, limit) {
  const mine = turn;
  let value, failure;
  try {
    value = await (await ask(path, { signal: AbortSignal.timeout(limit || ANSWER_MS) })).json();
  } catch (error) {
    failure = error;
  }
  if (mine !== turn || failure && turnedAway(failure)) return;
  take(value, failure);
  draw();
}

function loadHub() {
  return load('api/hub', (value) => {
    if (!value?.version) return;
    hub = value;
    channel ||= hub.channel || 'latest';
    first ||= hub;
  });
}

function loadPast() {
  load('api/hub/upgrade/history', (value) => { past = value?.operations || past; });
}

function loadPlan() {
  const mine = ++asking;
  plan = null;
  const query = channel && `?channel=${channel}`;
  load('api/hub/upgrade/plan' + query, (value, failure) => {
    if (mine === asking) plan = value?.current ? value : { failure: failure || {} };
  }, PLAN_MS);
  draw();
}

async function refresh() {
  loadPast();
  await loadHub();
  if (!open()) loadPlan();
}

// --- the events ----------------------------------------------------------------------------------

async function follow() {
  const mine = ++turn;
  for (let delay = 300; mine === turn; delay = slower(delay)) {
    stream = new AbortController();
    heardAt = Date.now();
    try {
      const answer = await ask('api/hub/upgrade/events', { signal: stream.signal });
      if (mine !== turn) return;
      if (ever && !live) put('said', 'Connected again.');
      live = ever = true;
      delay = 300;
      refresh();
      await read(answer.body, mine);
      trouble = '';
    } catch (error) {
      if (mine !== turn || turnedAway(error)) return;
      trouble = error.status ? capital(error.message) : '';
    }
    if (mine !== turn) return;
    if (live || !lostAt) lostAt = Date.now();
    live = false;
    draw();
    await pause(delay);
  }
}

async function read(body, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ''; ;) {
    const { done, value } = await reader.read();
    if (done || mine !== turn) return;
    heardAt = Date.now();
    const events = (text + value).split('\n\n');
    text = events.pop();
    for (const line of events.join('\n').split('\n')) {
      if (line.startsWith('data:')) took(JSON.parse(line.slice(5)));
    }
  }
}

function took(value) {
  if (!value?.operation_id) return;
  const before = record;
  record = value;
  const same = before?.operation_id === record.operation_id;
  const moved = !same || before.phase !== record.phase || before.step !== record.step;
  if (open()) watched = record.operation_id;
  if (moved && open()) put('said', doing());
  if (moved && !open() && watched === record.operation_id) {
    const [, title, text] = ending(record);
    put('ended', `${title}. ${text}`);
  }
  if (record.operation_id === awaited) pressing = false;
  if (moved && before) refresh();
  draw();
  if (record.operation_id === awaited) {
    awaited = '';
    $('operation-title').focus();
  }
}

// Sleep, a silent proxy, a hub that hangs: what says nothing for too long is asked anew. And while
// another image takes over, its own word tells which one serves.
setInterval(() => {
  if (!token) return;
  if (Date.now() - heardAt > (live ? SILENCE_MS : ANSWER_MS)) stream.abort();
  if (live && onTrial()) loadHub();
  if (!live) draw();
}, 1000);

// --- in words ------------------------------------------------------------------------------------

function doing() {
  const step = STEPS.find(([name]) => name === record.step);
  if (onTrial() && hub && hub.launcher_version === null) {
    return 'No launcher runs here: it is decided at the next start.';
  }
  const what = step ? `${step[1]}: ${step[2]}` : 'Accepted: its helper starts.';
  return record.error ? `${what} (${record.error})` : what;
}

// How a finished operation went: tone, title, and why.
function ending(op) {
  const back = op.kind === 'rollback';
  const move = `${op.current_version} → ${op.target_version || 'its target'}`;
  if (op.phase === 'redeploy-required') return ['warn', 'A redeploy is required', op.reason];
  if (op.phase === 'failed') {
    const why = capital(op.error || 'No reason was recorded.');
    if (op.rolled_back_to) return ['bad', `Taken back to ${op.rolled_back_to}`, why];
    return ['bad', back ? 'The rollback failed' : 'The upgrade failed', why];
  }
  if (!op.undo) {
    const now = op.target_version || op.current_version;
    return ['good', 'Nothing to do', `${now} is what runs already. Nothing was restarted.`];
  }
  const proven = `${op.target_version} stayed healthy for its whole probation, and is proven.`;
  return ['good', back ? `Rolled back: ${move}` : `Upgraded: ${move}`, proven];
}

function result(op) {
  if (op.phase === 'failed') return op.rolled_back_to ? 'taken back' : 'failed';
  return op.phase === 'succeeded' && !op.undo ? 'nothing to do' : op.phase.replace('-', ' ');
}

// --- drawing -------------------------------------------------------------------------------------

function draw() {
  show('sign-in', !token);
  show('sign-out', token);
  show('hub', token && hub);
  drawLink();
  if (token && hub) {
    drawHub();
    drawRecord();
    drawPlan();
    drawPast();
  }
  document.title = `${headline()} · Parachute hub`;
}

function headline() {
  if (!token) return 'Sign in';
  if (!live) return ever ? 'Reconnecting' : 'Connecting';
  if (open()) return record.kind === 'rollback' ? 'Rolling back' : 'Upgrading';
  if (record && watched === record.operation_id) return ending(record)[1];
  return hub ? hub.version : 'Connecting';
}

function drawLink() {
  const away = token && !live;
  say('link', away ? (ever ? 'reconnecting …' : 'connecting …') : '');
  const long = away && lostAt && (!hub || Date.now() - lostAt > LONG_MS);
  const decided = open() ? ' What it was doing is recorded: if the hub was stopped, the operation'
    + ' is decided at the next start, and this page will say how.' : '';
  const why = trouble || 'The hub does not answer.';
  say('wait', long ? `${why} This page keeps trying.${decided}` : '');
}

function drawHub() {
  const trial = onTrial() && hub.release === record.target_digest;
  if (hub.version !== $('version').textContent) {
    $('version').classList.toggle('fresh', $('version').textContent);
    put('version', hub.version);
  }
  put('badge', live ? (trial ? 'on probation' : 'running') : 'last seen');
  $('badge').className = live ? `badge ${trial ? 'warn' : 'good'}` : 'badge';
  list('warnings', [hub.trouble, hub.config_error, hub.in_place]);
  const { source, install_source: installed } = hub;
  const facts = [
    ['Channel', hub.channel],
    ['Source', source === installed || !installed ? source : `${source} (${installed})`],
    ['Running since', time(hub.started_at)],
    ['Launcher', hub.launcher_version],
    ['Commit', hub.git_head],
    ['Checkout', hub.bun_linked_path],
    ['Image built', hub.container_build_time],
  ].filter(([, value]) => value);
  $('facts').replaceChildren(
    ...facts.map(([name, value]) => make('div', [make('dt', name), make('dd', value)])),
  );
  show('mode', hub.mode);
  put('f-mode', hub.mode === 'in-place' ? 'in place' : 'redeploy required');
  put('f-reason', capital(hub.reason || ''));
  list('f-evidence', hub.evidence || []);
  // The page's own files came with the release that ran first: another one may have newer ones.
  const other = !open() && first.release !== hub.release;
  show('reload', other);
  if (other) put('reload-why', `This page came with ${first.version}; ${hub.version} runs now.`);
}

function drawRecord() {
  show('operation', record);
  if (!record) return;
  const [tone, title, text] = open()
    ? ['', `${record.kind === 'rollback' ? 'Rolling back' : 'Upgrading'} ${record.current_version}`
      + ` → ${record.target_version || '…'}`, doing()]
    : ending(record);
  $('operation').className = tone;
  put('operation-title', title);
  put('operation-text', text);
  drawSteps();
  const { progress } = record;
  show('progress', progress);
  if (progress) {
    put('progress-text', size(progress));
    if (progress.total) $('bar').value = progress.done / progress.total;
    else $('bar').removeAttribute('value');
  }
  drawLastWords();
  drawLog();
  const who = ['Asked for by ', record.requested_by || 'somebody', ', ', time(record.started_at)];
  if (record.finished_at) who.push('. Ended ', time(record.finished_at), '.');
  $('operation-who').replaceChildren(...who);
}

function drawSteps() {
  show('steps', open());
  const steps = STEPS.filter(([name]) => record.kind !== 'rollback' || name !== 'staging');
  const now = steps.findIndex(([name]) => name === record.step);
  $('steps').replaceChildren(...steps.map(([, name], place) => {
    const item = make('li', place < now ? [name, make('span', ' (done)', 'unseen')] : name);
    if (place < now) item.className = 'done';
    if (place === now) item.setAttribute('aria-current', 'step');
    return item;
  }));
}

function drawLastWords() {
  const log = record.log || [];
  const from = log.findIndex((line) => /^the last lines that .* printed:$/.test(line));
  const lines = from < 0 ? [] : log.slice(from + 1).map((line) => line.replace(/^\| /, ''));
  show('last-words', lines.length);
  put('last-words-title', capital(log[from] || ''));
  put('last-lines', lines.join('\n'));
}

// Only what is new is added: a log may be 500 lines of 2,000 characters, and of a full one the
// middle goes, so that it goes on after the line that was shown last.
function drawLog() {
  const box = $('log');
  const lines = record.log || [];
  const anew = shown?.id !== record.operation_id;
  if (anew) {
    box.replaceChildren();
    $('log-box').open = open();
  }
  const before = anew ? [] : shown.lines;
  const grown = before.every((line, place) => line === lines[place]);
  const fresh = lines.slice(grown ? before.length : lines.lastIndexOf(before.at(-1)) + 1);
  shown = { id: record.operation_id, lines };
  show('log-box', lines.length);
  if (!fresh.length) return;
  const low = box.scrollTop + box.clientHeight > box.scrollHeight - 30;
  box.append(fresh.join('\n') + '\n');
  if (low) box.scrollTop = box.scrollHeight;
}

function drawPlan() {
  const may = !hub.scopes || hub.scopes.includes('hub:admin');
  const ready = may && live && !pressing;
  show('upgrade', !open());
  for (const radio of document.getElementsByName('channel')) radio.checked = radio.value === channel;
  const { target, already_current: current, failure, stops = [], note = '' } = plan || {};
  put('plan-what', planned());
  say('plan-note', capital(note));
  list('stops', stops.map((stop) => stop.error_description));
  // What failed here before is tried again by whoever names it, and this button does.
  const again = stops.length === 1 && stops[0].error === 'rejected';
  show('go', target && !current && !failure);
  put('go', again ? `Try ${target} again` : `Upgrade to ${target}`);
  $('go').disabled = !ready || stops.length && !again;
  $('again').disabled = !plan;
  const back = hub.mode === 'redeploy-required' ? '' : hub.previous;
  put('back-what', back ? `${back} is kept here, to go back to.`
    : hub.previous ? `Going back to ${hub.previous} needs a redeploy too.`
      : 'There is no earlier release to go back to.');
  show('back', back);
  put('back', `Roll back to ${back}`);
  $('back').disabled = !ready;
  show('read-only', !may);
}

function planned() {
  if (!plan) return 'Looking what there is …';
  if (plan.failure) return plan.failure.status ? sentence(plan.failure) : 'The hub did not answer.';
  const { current, target } = plan;
  if (plan.already_current) return `Nothing to do: ${target} is what ${plan.channel} has, and it runs.`;
  if (!target) return 'What there is to upgrade to is not known.';
  const move = `${current} → ${target}. `;
  if (plan.stops?.length) return `${move}This is what stops it:`;
  return `${move}It is fetched, checked and tried beside what runs; then it takes over, without a`
    + ` request lost. If it is not healthy, ${current} comes back by itself.`;
}

let drawn = '';
function drawPast() {
  const key = past.length + allPast + (past[0]?.operation_id || '') + past[0]?.phase;
  if (key === drawn) return;
  drawn = key;
  show('past', past.length);
  show('more', past.length > FEW && !allPast);
  put('more', `Show all ${past.length}`);
  $('history').replaceChildren(...past.slice(0, allPast ? undefined : FEW).map((op) => {
    const [tone, , why] = ending(op);
    const target = op.target_version ? ` → ${op.target_version}` : '';
    const kind = op.kind === 'rollback' ? 'Rollback' : 'Upgrade';
    const what = make('strong', `${kind} ${op.current_version}${target}`);
    const head = make('div', [what, make('span', result(op), tone)], 'what');
    const who = ` · asked for by ${op.requested_by || 'somebody'}`;
    const foot = make('div', [time(op.finished_at || op.started_at), who], 'dim');
    return make('li', tone === 'good' ? [head, foot] : [head, make('div', why), foot]);
  }));
}

// --- pressing ------------------------------------------------------------------------------------

async function press(path, body) {
  const mine = turn;
  pressing = true;
  say('refused', '');
  draw();
  try {
    awaited = (await (await ask(path, { body })).json()).operation_id;
    if (record?.operation_id === awaited) took(record);
  } catch (error) {
    pressing = false;
    if (mine !== turn || turnedAway(error)) return;
    const lost = 'The hub did not answer. If it took the request, this page will show it.';
    say('refused', error.status ? sentence(error) : lost);
    if (error.status) refresh();
  }
  draw();
}

// What the button names is what is asked for, whatever was published since.
$('go').onclick = () => press('api/hub/upgrade', { channel: plan.channel, version: plan.target });
$('back').onclick = () => press('api/hub/rollback', {});
$('again').onclick = loadPlan;
$('more').onclick = () => { allPast = true; draw(); };
$('reload-now').onclick = () => location.reload();
$('channels').onchange = (event) => { channel = event.target.value; loadPlan(); };

// --- signing in and out --------------------------------------------------------------------------

function keep(value) {
  token = value;
  try {
    if (value) localStorage.setItem(KEY, value);
    else localStorage.removeItem(KEY);
  } catch { /* a browser that keeps nothing: signed in until the page is left */ }
}

function signedOut(why) {
  turn += 1;
  stream.abort();
  keep('');
  hub = plan = record = shown = first = null;
  past = [];
  live = ever = pressing = false;
  lostAt = 0;
  channel = awaited = watched = drawn = trouble = '';
  for (const id of ['said', 'ended', 'version']) put(id, '');
  say('refused', '');
  say('sign-in-why', why);
  draw();
  $(why ? 'sign-in-title' : 'secret').focus();
}

function signedIn(value) {
  signedOut('');
  keep(value);
  draw();
  follow();
}

const redeem = async (code) => (await (await ask('api/session', { body: { code }, bearer: '' })).json()).token;

async function redeemed(code) {
  for (let delay = 300; ; delay = slower(delay)) {
    try {
      return signedIn(await redeem(code));
    } catch (error) {
      if (error.status && error.status !== 503) return token ? follow() : signedOut(sentence(error));
      say('wait', `${sentence(error)} This page keeps trying.`);
    }
    await pause(delay);
  }
}

// The code leaves the address bar before anything else happens.
function start() {
  const code = new URLSearchParams(location.hash.slice(1)).get('code');
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  if (code) redeemed(code);
  else if (token) follow();
  else draw();
}

async function enter(secret) {
  const code = /[#&]code=([^&\s]+)/.exec(secret)?.[1];
  if (code) return redeem(code);
  try {
    await ask('api/hub', { bearer: secret });
    return secret;
  } catch (error) {
    if (error.status !== 401) throw error;
    return redeem(secret);
  }
}

$('sign-in-form').onsubmit = async (event) => {
  event.preventDefault();
  const secret = $('secret').value.trim();
  say('sign-in-why', '');
  try {
    if (!/^[\x21-\x7e]+$/.test(secret)) throw new Refusal(400, { error_description: 'That is neither a link, nor a code, nor a token.' });
    signedIn(await enter(secret));
    $('secret').value = '';
    $('version-title').focus();
  } catch (error) {
    say('sign-in-why', sentence(error));
    $('secret').focus();
  }
};
$('sign-out').onclick = () => signedOut('');
addEventListener('hashchange', () => { if (location.hash.includes('code=')) start(); });
addEventListener('online', () => wake());
document.addEventListener('visibilitychange', () => wake());

try {
  token = localStorage.getItem(KEY) || '';
} catch { /* as above */ }
start();
