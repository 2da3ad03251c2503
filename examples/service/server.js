// A service of one's own: it tells its version on /health, and stops when it is asked to.
const { version } = require("./package.json");

require("http")
  .createServer((request, response) => {
    const health = JSON.stringify({ status: "ok", version });
    response.end(request.url === "/health" ? health : `Hello from ${version}\n`);
  })
  .listen(process.env.PORT || 8080, "127.0.0.1");

process.on("SIGTERM", () => process.exit(0));
