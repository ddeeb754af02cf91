"""The role that docker-compose.yml creates for the server: no superuser, and the owner of its database."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import postgres  # noqa: E402


@unittest.skipUnless(shutil.which("psql"), "psql is not installed")
@unittest.skipUnless(postgres.TREE.exists(), "no Postgres; `scripts/setup.py --with-tests` fetches one")
class Role(unittest.TestCase):
    def test_the_role_owns_its_database_and_nothing_else(self):
        with tempfile.TemporaryDirectory() as folder:
            password = Path(folder, "password")
            password.write_text("5a" * 32 + "\n")
            query = (
                "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolcanlogin, "
                "(SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'semblance') "
                "FROM pg_roles WHERE rolname = 'semblance'"
            )
            script = (
                'eval "$(python3 -c \'import os, urllib.parse as u; p = u.urlsplit(os.environ["SEMBLANCE_TEST_POSTGRES_URL"]); '
                'print(f"export PGHOST={p.hostname} PGPORT={p.port}")\')"; '
                f'"{SCRIPTS}/postgres_role.sh" && psql -U postgres -d postgres -At -c "{query}" '
                '&& psql -U semblance -d semblance -At -c "CREATE TABLE works (x int)"'
            )
            environment = {key: value for key, value in os.environ.items() if key != postgres.VARIABLE}
            environment["SEMBLANCE_ROLE_PASSWORD_FILE"] = str(password)
            run = [sys.executable, str(SCRIPTS / "postgres.py"), "run", "--", "sh", "-c", script]
            done = subprocess.run(run, env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(re.search(r"^f\|f\|f\|f\|t\|semblance$", done.stdout, re.M), done.stdout)


if __name__ == "__main__":
    unittest.main()
