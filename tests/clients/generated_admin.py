"""Clients generated from /api/admin/v1/openapi.json, and schemathesis, which tries the administration API by it.

    python3 tests/clients/generated_admin.py python|typescript|schemathesis FOLDER

See python_clients.py for what comes in the environment and what is printed.
"""

import datetime
import importlib
import json
import os
import sys
import time
import urllib.request
import uuid
from pathlib import Path

from generated import documented_python, generate_python, generate_typescript, photo_file, report, try_server

URL, TOKEN = os.environ["CLIENT_ADMIN_URL"], os.environ["CLIENT_ADMIN_TOKEN"]
DOCUMENT = "/api/admin/v1/openapi.json"
PACKAGE = "generated_admin_client"

# The line of an erasure follows within a poll.
RECEIPT_SECONDS = 20


class Api:
    """The operations of the generated client, by name: `api("people.get_person", "APP", "ID")`."""

    def __init__(self, token):
        client = importlib.import_module(PACKAGE).AuthenticatedClient
        self.client = client(base_url=URL, token=token, timeout=60)

    def __call__(self, operation, *ids, **more):
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        return module.sync(*ids, client=self.client, **more)


def python(folder):
    generate_python(folder, f"{URL}{DOCUMENT}", PACKAGE)
    types, models = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("types", "models"))
    api = Api(TOKEN)

    session = api("sessions.get_session")
    report("session", session.result.administrator.role == "owner", session)
    made = api("applications.create_application", body=models.ChangeApplication(name="Generated Python client"))
    report("application", made.result.application.name == "Generated Python client", made)
    app = made.result.application.app_id
    scopes = [models.KeyScopesItem.IDENTIFY]
    key = api("keys.create_key", app, body=models.CreateKey(name="gate", scopes=scopes))
    report("key", key.result.key.scopes == ["identify"], key)

    form = models.NewPersonForm(photo=[photo_file(types, "CLIENT_ENROL")], template_id="ada", name="Ada Example")
    person = api("people.create_person", app, body=form)
    report("add", isinstance(person, models.NewPersonViewReply) and person.result.template_id == "ada", person)
    found = api("people.search_people", app, body=models.PeopleSearch(q="exam"))
    report("search", [item.template_id for item in found.result.people] == ["ada"], found)
    later = datetime.datetime(2100, 1, 31, tzinfo=datetime.timezone.utc)
    change = models.ChangePerson(name="Ada Sample", expires_at=later)
    changed = api("people.change_person", app, "ada", body=change, if_match=f'"r{person.result.revision}"')
    expiry = isinstance(changed, models.PersonViewReply) and changed.result.expires_at
    report("change", expiry == "2100-01-31T00:00:00.000Z" and changed.result.name == "Ada Sample", changed)
    probe = models.PhotoOfPersonForm(photo=photo_file(types, "CLIENT_PROBE"), template_id="ada")
    verified = api("photos.verify", app, body=probe)
    report("verify", isinstance(verified, models.VerifiedTemplateReply) and verified.result.comparison.same, verified)

    documented_python("semblance_admin", PACKAGE, URL, {"app_id": app, "token": TOKEN})

    erased = api("people.erase_person", app, "ada", confirm_samples=1)
    report("erase", erased.result.erased.samples == 1, erased)
    receipt = signed_receipt(lambda: api("receipts.get_receipt", erased.result.erasure_id))
    report("receipt", receipt.result.state == "signed" and bool(receipt.result.line), receipt)
    checked = api("receipts.check_receipts", body=models.CheckReceipts(lines=[receipt.result.line]))
    report("check", checked.result.all_valid, checked)
    lines = api("journal.search_journal", body=models.SearchJournal(app_id=app, outcome="enrolled"))
    report("journal", [line.template_id for line in lines.result.lines] == ["ada"], lines)

    create = models.CreateAdministrator(name=f"Auditor {uuid.uuid4()}", role=models.AdministratorRole.AUDITOR)
    auditor = api("administrators.create_administrator", body=create).result.admin_id
    token = api("administrators.create_token", auditor, body=models.CreateToken(name="tests")).result.token
    refused = Api(token)("applications.create_application", body=models.ChangeApplication(name="x"))
    good = isinstance(refused, models.Error) and (refused.result.code, refused.result.reason) == (403, "roleTooLow")
    report("refused", good, refused)


def signed_receipt(read):
    end = time.monotonic() + RECEIPT_SECONDS
    while (receipt := read()).result.state != "signed" and time.monotonic() < end:
        time.sleep(0.2)
    return receipt


def typescript(folder):
    generate_typescript(folder / "typescript-admin", f"{URL}{DOCUMENT}", "generated_admin_client.ts", "semblance-admin")


def schemathesis(folder):
    # Of its own: keys are ended and rules changed, and the other clients go on with theirs.
    os.environ["CLIENT_APP_ID"] = create_application()
    os.environ["CLIENT_PERSON"] = add_person()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try_server(folder / "schemathesis-admin", URL, DOCUMENT, "schemathesis-admin.toml", headers)


def create_application():
    """Creates an application. Returns its id."""
    request = urllib.request.Request(
        f"{URL}/api/admin/v1/applications",
        json.dumps({"name": "schemathesis"}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["result"]["application"]["appId"]


def add_person():
    """Adds a person, so that operations on a person reach one."""
    template = "schemathesis"
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    photo = Path(os.environ["CLIENT_ENROL"]).read_bytes()
    form = f'{head}templateId"\r\n\r\n{template}\r\n{head}photo"; filename="a.jpg"\r\n\r\n'.encode() + photo
    request = urllib.request.Request(
        f"{URL}/api/admin/v1/applications/{os.environ['CLIENT_APP_ID']}/people",
        form + f"\r\n--{boundary}--\r\n".encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["result"]["templateId"]


if __name__ == "__main__":
    {"python": python, "typescript": typescript, "schemathesis": schemathesis}[sys.argv[1]](Path(sys.argv[2]))
