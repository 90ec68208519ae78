const http = require("http");
http.createServer((req, res) => res.end(`hello from node, pid ${process.pid}\n`))
  .listen(process.env.PORT, "127.0.0.1");
