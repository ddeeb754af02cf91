"""The load script against servers that answer what a test wants."""

import http.server
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "load.py"
BODY = b'{"transactionId": "1"}'


class Load(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.photo = Path(temporary.name) / "photo.jpg"
        self.photo.write_bytes(b"a photo")

    def serve(self, reply):
        """A server on a port of its own; `reply` gives status, headers and body by the number of the request."""
        lock, count = threading.Lock(), [0]

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    count[0] += 1
                    answer = reply(count[0])
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}/api/v1.0/identify"

    def load(self, url, seconds="1"):
        command = [sys.executable, str(SCRIPT), "--url", url, "--app-id", "a", "--app-key", "b", str(self.photo)]
        command += ["--clients", "4", "--seconds", seconds]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)

    def test_refusals_are_not_errors(self):
        def reply(number):
            kinds = {0: (200, {}), 1: (503, {"Retry-After": "1"}), 2: (429, {"Retry-After": "1"})}
            return (*kinds[number % 3], BODY)

        done = self.load(self.serve(reply), "2")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"refused, with Retry-After: [1-9]\d* with 429, [1-9]\d* with 503; errors: 0 ")

    def test_a_refusal_without_a_time_is_an_error(self):
        done = self.load(self.serve(lambda number: (429, {}, BODY) if number % 2 else (200, {}, BODY)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("0 with 429, 0 with 503; errors: ", done.stdout)
        self.assertIn("status 429", done.stdout)

    def assert_stops_at_once(self, url, *words):
        done = self.load(url, "3600")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"\Aload: [^\n]*\n\Z")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_a_wrong_url_stops_at_once(self):
        self.assert_stops_at_once("http://127.0.0.1:1/api/v1.0/identify", "cannot connect", "--url")
        self.assert_stops_at_once(self.serve(lambda _: (404, {}, BODY)), "404", "/api/v1.0/identify")
        self.assert_stops_at_once(self.serve(lambda _: (405, {}, BODY)), "405", "/api/v1.0/identify")
        self.assert_stops_at_once(self.serve(lambda _: (200, {}, b"<html>")), "does not answer as Semblance", "--url")

    def test_wrong_credentials_stop_at_once(self):
        self.assert_stops_at_once(self.serve(lambda _: (401, {}, BODY)), "401", "--app-key")

    def test_a_server_that_goes_away_ends_it(self):
        done = self.load(self.serve(lambda number: (200, {}, BODY) if number < 20 else None), "3600")
        self.assertEqual(done.returncode, 1)
        self.assertIn("stopped early", done.stderr)
        self.assertRegex(done.stdout, r"errors: [5-9]\d ")


if __name__ == "__main__":
    unittest.main()
