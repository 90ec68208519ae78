import http.server
import os

GREETING = "hello from python"


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{GREETING}, pid {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()
