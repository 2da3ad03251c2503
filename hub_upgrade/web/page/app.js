// The operator's page. How an operation went is only ever read off its record: nothing here takes
// an answered request, or another version, for a success. Whatever is shown is set as text.

const STEPS = [
  ['resolving', 'Find', 'which release is it?'],
  ['staging', 'Fetch', 'putting it beside what runs'],
  ['verifying', 'Verify', 'is it whole?'],
  ['preflight', 'Try out', 'trying it on a spare socket'],
  ['backing-up', 'Back up', 'running before_upgrade'],
  ['handing-over', 'Hand over', 'handing it to the launcher'],
  ['proving', 'Prove', 'it serves, on probation'],
];
const MANAGED = [
  STEPS[0],
  ['staging', 'Keep', 'keeping aside what is installed'],
  STEPS[4],
  ['rewriting', 'Install', 'installing it'],
  ['handing-over', 'Restart', 'having the hub restarted'],
  STEPS[6],
  ['reverting', 'Put back', 'putting back what was there'],
];
const NOW_AND_THEN = ['backing-up', 'reverting'];
const path = () => (record.install || 'pyz') === 'pyz' ? STEPS : MANAGED;
const KEY = 'hub-token:' + new URL('.', location).pathname; // two hubs may share an origin
const ANSWER_MS = 10e3;
const PLAN_MS = 45e3;
const SILENCE_MS = 40e3; // the hub says something at least every 15 s
const LONG_MS = 8e3; // from here on a lost connection is worth a sentence
const TRIAL_MS = 60e3;
const FEW = 6;
const ENDS = ['succeeded', 'failed', 'redeploy-required'];
const CODE = /[#&]code=([^&]+)/;
// What a release says nothing of that is older than the page, and was gone back to.
const UNSAID = {
  scopes: ['hub:admin'], evidence: [], reason: '', channel: 'latest', install_source: 'pyz',
};
// What can be asked for by its name: a checkout may have but its commit for a version.
const NAMED = /^\d+\.\d+\.\d+([-+][\w.+-]+)?$/;

let token, hub, first, plan, record, shown, past, drawn; // `shown`: the log that is on the page
let live, ever, stale, lostAt, trouble, pressing, awaited, watched, channel, allPast;
let turn = 0; // goes up with every signing in or out: what was asked for before is dropped
let asking = 0, heardAt = 0, soon;
let stream = new AbortController();
let wake = () => {};

const $ = (id) => document.getElementById(id);
const show = (id, on) => { $(id).hidden = !on; };
const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
const say = (id, text) => { put(id, text); show(id, text); };
const open = () => record && !ENDS.includes(record.phase);
const managed = () => hub.install_source !== 'pyz'; // hub.pyz looks after another hub
const onTrial = () => open() && record.phase === 'restarting';
const capital = (text) => /^[a-z]+[ ,]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;

function make(tag, content, className = '') {
  const element = document.createElement(tag);
  element.append(...[content].flat());
  element.className = className;
  return element;
}

function list(id, lines) {
  const text = lines.join('\n');
  if ($(id).lines === text) return; // nothing is read out twice
  $(id).lines = text;
  show(id, text);
  $(id).replaceChildren(...lines.map((line) => make('li', capital(line))));
}

function time(text) {
  const date = new Date(text);
  const two = (number) => String(Math.floor(number)).padStart(2, '0');
  const east = -date.getTimezoneOffset(), far = Math.abs(east);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const local = `${day} ${clock} ${east < 0 ? '-' : '+'}${two(far / 60)}:${two(far % 60)}`;
  const element = make('time', date > 0 ? local : 'at an unknown time');
  element.dateTime = text;
  return element;
}

// --- asking the hub ---

class Refusal extends Error {
  constructor(status, body) {
    super(capital(body?.error_description || `the hub answered ${status}`));
    this.status = status;
  }
}

const sentence = (error) => error.status ? error.message : 'The hub does not answer';

async function ask(path, { body, bearer = token, limit = ANSWER_MS, signal } = {}) {
  const answer = await fetch(path, {
    method: body ? 'POST' : 'GET',
    headers: bearer ? { authorization: `Bearer ${bearer}` } : {},
    body: body && JSON.stringify(body),
    signal: signal || AbortSignal.timeout(limit),
    cache: 'no-store',
  });
  if (answer.ok) return signal ? answer : answer.json();
  throw new Refusal(answer.status, await answer.json().catch(() => null));
}

// A release on trial may answer anything, and so "who are you?" too: that signs nobody out.
function turnedAway(error) {
  const trial = onTrial() && (live || Date.now() - lostAt < TRIAL_MS);
  if (error.status !== 401 || trial) return false;
  leave('Your sign-in has expired, or was revoked. Please sign in again.');
  return true;
}

async function load(path, take, limit) {
  const mine = turn;
  let value;
  try {
    value = await ask(path, { limit });
  } catch (error) {
    if (mine !== turn || turnedAway(error)) return;
    value = { error };
  }
  if (mine === turn && value) take(value);
  draw();
}

const loadHub = () => load('api/hub', (value) => {
  stale = Boolean(value.error);
  if (!value.version) {
    trouble = sentence(value.error || {});
    return;
  }
  hub = { ...UNSAID, ...value };
  first ||= hub;
  channel ||= hub.channel;
});

const loadPast = () => load('api/hub/upgrade/history', (value) => {
  past = value.operations || past;
});

// A plan that is asked for again stays in sight meanwhile; what may be wrong by now does not.
function loadPlan(again) {
  const mine = ++asking;
  if (!again) plan = null;
  put('again', 'Checking …');
  draw();
  load(`api/hub/upgrade/plan?channel=${channel}`, (value) => {
    if (mine !== asking) return;
    plan = value;
    put('again', 'Check again');
  }, PLAN_MS);
}

// A moment later, since what calls for it comes in pairs: a connection and its first event.
function refresh() {
  clearTimeout(soon);
  soon = setTimeout(async () => {
    await loadHub();
    if (!hub || stale || open()) return;
    loadPast();
    loadPlan();
  }, 30);
}

// --- the events: `fetch` reads them, since EventSource cannot say who asks ---

async function follow() {
  const mine = ++turn;
  for (let delay = 300; mine === turn; delay = Math.min(delay * 2, 3000)) {
    stream = new AbortController();
    heardAt = Date.now();
    trouble = '';
    try {
      const answer = await ask('api/hub/upgrade/events', { signal: stream.signal });
      if (mine !== turn) return;
      if (ever) put('said', 'Connected again.');
      live = ever = true;
      delay = 300;
      refresh();
      await read(answer.body, mine);
    } catch (error) {
      if (mine !== turn || turnedAway(error)) return;
      if (error.status) trouble = error.message;
    }
    if (mine !== turn) return;
    if (live || !lostAt) lostAt = Date.now();
    live = false;
    draw();
    await new Promise((done) => {
      wake = done;
      setTimeout(done, delay * (0.75 + Math.random() / 2));
    });
  }
}

async function read(body, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ''; ;) {
    const { done, value } = await reader.read();
    if (done || mine !== turn) return;
    heardAt = Date.now();
    const lines = (text + value).split('\n');
    text = lines.pop();
    for (const line of lines) if (line.startsWith('data:')) took(JSON.parse(line.slice(5)));
  }
}

function took(value) {
  if (!value?.operation_id) return;
  const before = record;
  const { operation_id: id, phase, step } = record = value;
  if (before?.operation_id !== id || before.phase !== phase || before.step !== step) {
    if (before || pressing || open()) watched = id; // else it had ended before anybody looked
    put('ended', '');
    if (open()) put('said', doing());
    else if (watched === id) put('ended', ending(record).slice(1).join('. '));
    plan = null;
    refresh();
  }
  pressing = false;
  draw();
  if (awaited === id) {
    awaited = '';
    $('operation-title').focus();
  }
}

// Sleep, a silent proxy, a hub that hangs: what says nothing for too long is asked anew. And while
// another image takes over, its own word tells which one serves.
setInterval(() => {
  if (!token) return;
  if (Date.now() - heardAt > (live ? SILENCE_MS : ANSWER_MS)) stream.abort();
  if (!live) draw();
  else if (!hub || stale) refresh(); // it was being looked at, say: then nothing else was asked
  else if (onTrial()) loadHub();
}, 1000);

// --- in words ---

function doing() {
  if (path() === STEPS && onTrial() && hub?.launcher_version === null) {
    return 'No launcher runs here: it is decided at the next start.';
  }
  const step = path().find(([name]) => name === record.step);
  return step ? `${step[1]}: ${step[2]}` : 'Accepted: its helper starts';
}

// How a finished operation went: tone, title, and why.
function ending(op) {
  const { kind, phase, undo, error, rolled_back_to: back, target_version: target } = op;
  const word = kind === 'rollback' ? 'Rolled back' : 'Upgraded';
  if (phase === 'redeploy-required') return ['warn', 'A redeploy is required', op.reason];
  if (phase !== 'succeeded') {
    return ['bad', back ? `Taken back to ${back}` : `The ${kind} failed`,
      capital(error || 'No reason was recorded.')];
  }
  if (!undo) return ['good', 'Nothing to do', `${target} is what runs already. Nothing was restarted.`];
  return ['good', `${word}: ${op.current_version} → ${target}`,
    `${target} stayed healthy for its whole probation, and is proven.`];
}

function result({ phase, undo, rolled_back_to: back }) {
  if (back) return `taken back to ${back}`;
  return phase === 'succeeded' && !undo ? 'nothing to do' : phase.replace('-', ' ');
}

// --- drawing ---

function draw() {
  const long = hub ? !live && Date.now() - lostAt > LONG_MS : token && (trouble || lostAt);
  show('sign-in', !token);
  show('sign-out', token);
  show('hub', hub);
  const decided = open()
    ? ' What it was doing is recorded: if it was stopped, that is decided at the next start.' : '';
  say('wait', long ? `${trouble || sentence({})} — this page keeps trying.${decided}` : '');
  if (hub) {
    drawHub();
    if (record) drawRecord();
    show('operation', record);
    drawPlan();
    drawPast();
  }
  document.title = `${headline()} · Parachute hub`;
}

function headline() {
  if (!token) return 'Sign in';
  if (!live || !hub) return ever ? 'Reconnecting' : 'Connecting';
  if (open()) return record.kind === 'rollback' ? 'Rolling back' : 'Upgrading';
  return watched && watched === record?.operation_id ? ending(record)[1] : hub.version;
}

function drawHub() {
  const other = managed();
  const trial = onTrial() && (path() === MANAGED ? hub.version === record.target_version
    : !other && hub.release === record.target_digest);
  const silent = other && hub.version === 'unknown';
  const before = $('version').textContent;
  if (hub.version !== before) {
    $('version').replaceChildren(make('span', hub.version, before && 'fresh'));
  }
  put('badge', !live ? 'reconnecting …' : silent ? 'tells no version'
    : trial ? 'on probation' : 'running');
  $('badge').className = `badge ${live && !silent && !trial ? 'good' : 'warn'}`;
  list('warnings', [hub.trouble, hub.config_error, hub.in_place].filter(Boolean));
  put('f-channel', hub.channel);
  put('f-source', hub.source);
  for (const id of ['launcher', 'since']) show(id, !other); // they are hub.pyz's
  put('f-launcher', hub.launcher_version || 'none');
  $('f-since').replaceChildren(time(hub.started_at));
  put('mode', hub.mode === 'in-place' ? 'in place' : 'redeploy required');
  put('reason', capital(hub.reason));
  list('evidence', hub.evidence);
  // The page's own files came with the release that ran first: another one may have newer ones.
  show('reload', !open() && first.release !== hub.release);
  put('reload-why', other ? 'Another hub.pyz runs by now than the one that this page came with.'
    : `This page came with ${first.version}; ${hub.version} runs now.`);
}

function drawRecord() {
  const { kind, current_version: old, target_version: target, progress, log } = record;
  const move = `${kind === 'rollback' ? 'Rolling back' : 'Upgrading'} ${old} → ${target || '…'}`;
  const [tone, title, text] = open() ? ['', move, (live ? '' : 'Last heard: ') + doing()]
    : ending(record);
  $('operation').className = tone;
  put('operation-title', title);
  put('operation-text', text);

  const steps = path().filter(([name]) => name === record.step
    || !NOW_AND_THEN.includes(name) && (kind !== 'rollback' || name !== 'staging'));
  const now = steps.findIndex(([name]) => name === record.step);
  show('steps', open());
  $('steps').replaceChildren(...steps.map(([, name], place) => {
    const done = place < now;
    const item = make('li', [name, make('span', done ? ' (done)' : '', 'unseen')], done ? 'done' : '');
    if (place === now) item.ariaCurrent = 'step';
    return item;
  }));

  show('progress', progress);
  if (progress) {
    const size = (n) => progress.unit === 'bytes' ? `${(n / 1e6).toFixed(2)} MB` : `${n} ${progress.unit}`;
    const { done, total } = progress;
    put('progress-text', size(done) + (total ? ` of ${size(total)}` : ''));
    if (total) $('bar').value = done / total;
    else $('bar').removeAttribute('value');
  }

  const from = log.findIndex((line) => /^the last lines that .* printed:$/.test(line));
  show('last', from >= 0);
  put('last-title', capital(log[from] || ''));
  put('last-lines', log.slice(from + 1).map((line) => line.replace(/^\| /, '')).join('\n'));
  drawLog(log);

  const who = ['Asked for by ', record.requested_by || 'somebody', ', ', time(record.started_at), '. '];
  if (!open()) who.push('Ended ', time(record.finished_at), '.');
  $('who').replaceChildren(...who);
}

// Only what is new is added: a log may be 500 lines of 2,000 characters, and of a full one the
// middle goes, so that it goes on after the line that was shown last.
function drawLog(lines) {
  const box = $('log');
  if (shown?.id !== record.operation_id) {
    box.textContent = '';
    shown = { lines: [] };
    $('log-box').open = open();
  }
  const before = shown.lines;
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
  const may = hub.scopes.includes('hub:admin');
  const ready = may && live && !pressing;
  const { current, target, already_current: same, stops = [], note, error } = plan || {};
  // What failed here before is tried again by whoever names it, and this button does.
  const again = stops.length === 1 && stops[0].error === 'rejected' && NAMED.test(target);
  const how = stops.length ? '' : !managed()
    ? `It is fetched, checked and tried beside what runs; then it takes over, without a request`
      + ` lost. If it is not healthy, ${current} comes back by itself.`
    : plan?.installed === target && current !== target
      ? 'It lies on the disk already: the hub is only restarted.'
      : 'What is installed is kept aside, and this put in its place; then the hub is restarted,'
        + ' and does not answer meanwhile. If it is not healthy, what was there is put back.';
  show('upgrade', !open());
  for (const radio of document.getElementsByName('channel')) radio.checked = radio.value === channel;
  put('plan-what', !plan ? 'Looking what there is …' : error ? sentence(error)
    : same ? `Nothing to do: ${target} runs, and is what ${plan.channel} has.`
      : target ? `${current} → ${target}` : 'What there is to upgrade to is not known.');
  say('plan-how', [note && `${capital(note)}.`, target && !same && how].filter(Boolean).join(' '));
  list('stops', stops.map((stop) => stop.error_description));
  show('go', target && !same);
  put('go', again ? `Try ${target} again` : `Upgrade to ${target}`);
  $('go').className = again ? '' : 'main';
  $('go').disabled = !ready || stops.length && !again;
  const inPlace = hub.mode === 'in-place', back = hub.previous;
  put('back-what', !back ? 'There is no earlier release to go back to.'
    : inPlace ? `${back} is kept here, to go back to.` : `Going back to ${back} needs a redeploy too.`);
  show('back', back && inPlace);
  put('back', `Roll back to ${back}`);
  $('back').disabled = !ready;
  show('read-only', !may);
}

function drawPast() {
  const key = [past.length, past[0]?.operation_id, allPast].join();
  if (key === drawn) return;
  drawn = key;
  show('past', past.length);
  show('more', past.length > FEW && !allPast);
  put('more', `Show all ${past.length}`);
  $('history').replaceChildren(...past.slice(0, allPast ? 100 : FEW).map((op) => {
    const [tone, , why] = ending(op);
    const kind = op.kind === 'rollback' ? 'Rollback' : 'Upgrade';
    const to = op.target_version ? ` → ${op.target_version}` : '';
    const what = make('strong', `${kind} ${op.current_version}${to}`);
    const who = ` · asked for by ${op.requested_by || 'somebody'}`;
    return make('li', [
      make('div', [what, make('span', result(op), tone)], 'row apart'),
      tone === 'bad' ? make('div', why) : '',
      make('div', [time(op.finished_at), who], 'dim'),
    ]);
  }));
}

// --- pressing ---

async function press(button, path, body) {
  const mine = turn;
  pressing = true;
  say('refused', '');
  draw();
  try {
    awaited = (await ask(path, { body })).operation_id;
    if (record?.operation_id === awaited) took(record);
  } catch (error) {
    if (mine !== turn || turnedAway(error)) return;
    pressing = false;
    say('refused', error.status ? error.message
      : 'The hub did not answer. If it took the request, this page will show it.');
    loadHub();
    loadPlan(true);
    button.focus();
  }
}

// What the button names is what is asked for, whatever was published since, if it can be named.
$('go').onclick = (event) => press(event.target, 'api/hub/upgrade', {
  channel: plan.channel, version: NAMED.test(plan.target) ? plan.target : undefined,
});
$('back').onclick = (event) => press(event.target, 'api/hub/rollback', {});
$('again').onclick = () => { loadHub(); loadPlan(true); };
$('more').onclick = () => { allPast = true; draw(); $('past-title').focus(); };
$('reload-now').onclick = () => location.reload();
$('channels').onchange = (event) => { channel = event.target.value; loadPlan(); };

// --- signing in and out ---

function begin(value) {
  turn += 1;
  clearTimeout(soon);
  stream.abort();
  hub = first = plan = record = shown = null;
  live = ever = pressing = allPast = false;
  lostAt = 0;
  past = [];
  trouble = awaited = watched = channel = drawn = '';
  for (const id of ['said', 'ended', 'version']) put(id, '');
  for (const id of ['refused', 'sign-in-why']) say(id, '');
  token = value;
  try {
    if (token) localStorage.setItem(KEY, token);
    else localStorage.removeItem(KEY);
  } catch { /* a browser that keeps nothing: signed in until the page is left */ }
  draw();
  if (token) follow();
}

function leave(why) {
  begin('');
  say('sign-in-why', why);
  $('secret').focus();
}

const redeem = async (code) => (await ask('api/session', { body: { code }, bearer: '' })).token;

async function enter(secret) {
  const code = CODE.exec(secret)?.[1];
  if (code) return redeem(code);
  if (!/^[!-~]+$/.test(secret)) throw new Refusal(400, { error_description: 'That is neither a link, nor a code, nor a token.' });
  try {
    await ask('api/hub', { bearer: secret });
    return secret;
  } catch (error) {
    if (error.status !== 401) throw error;
    return redeem(secret);
  }
}

$('form').onsubmit = async (event) => {
  event.preventDefault();
  try {
    begin(await enter($('secret').value.trim()));
    $('secret').value = '';
    await loadHub();
    $('version-title').focus();
  } catch (error) {
    leave(sentence(error));
  }
};
$('sign-out').onclick = () => leave('');

// The code leaves the address bar before anything else happens. One that is of no use signs
// nobody out.
async function arrive() {
  const { hash } = location;
  if (hash) history.replaceState(null, '', location.pathname + location.search);
  let why = '';
  try {
    if (CODE.test(hash)) token = await enter(hash);
  } catch (error) {
    why = sentence(error);
    if (!error.status) $('secret').value = hash; // it may still be good: at a press it is tried again
  }
  if (token || !why) begin(token);
  else leave(why);
}

addEventListener('hashchange', () => { if (location.hash) arrive(); });
addEventListener('online', () => wake());
document.addEventListener('visibilitychange', () => wake());
try {
  token = localStorage.getItem(KEY);
} catch { /* as above */ }
arrive();
