// What an operator writes with the generated client of the administration API: an application with a key, a person from
// its photo to its receipt, the journal, and a refusal.

import { readFileSync } from "node:fs";
import { createClient } from "./client/client";
import {
    changePerson, checkReceipts, createAdministrator, createApplication, createKey, createPerson, createToken,
    erasePerson, getReceipt, getSession, searchJournal, searchPeople, verify,
} from "./client/sdk.gen";

const env = process.env as Record<string, string>;
const as = (token: string) => createClient({ baseUrl: env.CLIENT_ADMIN_URL, auth: token });
const client = as(env.CLIENT_ADMIN_TOKEN);

function photo(name: string): Blob {
    return new Blob([readFileSync(env[name])], { type: "image/jpeg" });
}

function report(step: string, good: boolean | undefined, detail: unknown) {
    console.log([step, Number(good ?? false), 1, good ? "" : JSON.stringify(detail)].join("\t"));
}

// The line of an erasure follows within a poll.
async function signedReceipt(erasureId: string) {
    for (let attempt = 0; ; attempt += 1) {
        const receipt = await getReceipt({ client, path: { erasureId } });
        if (receipt.data?.result.state === "signed" || attempt === 100) return receipt;
        await new Promise((done) => setTimeout(done, 200));
    }
}

async function main() {
    const session = await getSession({ client });
    report("session", session.data?.result.administrator.role === "owner", session.error);
    const made = await createApplication({ client, body: { name: "Generated TypeScript client" } });
    report("application", made.response?.status === 201, made.error);
    const appId = made.data!.result.application.appId;
    const key = await createKey({ client, path: { appId }, body: { name: "gate", scopes: ["identify"] } });
    report("key", key.data?.result.key.scopes.join() === "identify", key.error);

    const form = { photo: [photo("CLIENT_ENROL")], templateId: "ada", name: "Ada Example" };
    const person = await createPerson({ client, path: { appId }, body: form });
    report("add", person.data?.result.templateId === "ada", person.error);
    const found = await searchPeople({ client, path: { appId }, body: { q: "exam" } });
    report("search", found.data?.result.people.map((item) => item.templateId).join() === "ada", found.error);
    const path = { appId, templateId: "ada" };
    const headers = { "If-Match": `"r${person.data?.result.revision}"` };
    const changed = await changePerson({ client, path, headers, body: { name: "Ada Sample" } });
    report("change", changed.data?.result.name === "Ada Sample", changed.error);
    const probe = { photo: photo("CLIENT_PROBE"), templateId: "ada" };
    const verified = await verify({ client, path: { appId }, body: probe });
    report("verify", verified.data?.result.comparison.same, verified.error);

    const erased = await erasePerson({ client, path, query: { confirmSamples: 1 } });
    report("erase", erased.data?.result.erased.samples === 1, erased.error);
    const receipt = await signedReceipt(erased.data!.result.erasureId);
    report("receipt", receipt.data?.result.state === "signed", receipt.error ?? receipt.data);
    const checked = await checkReceipts({ client, body: { lines: [receipt.data?.result.line ?? ""] } });
    report("check", checked.data?.result.allValid, checked.error ?? checked.data);
    const lines = await searchJournal({ client, body: { appId, outcome: "enrolled" } });
    report("journal", lines.data?.result.lines.map((line) => line.templateId).join() === "ada", lines.error ?? lines.data);

    const name = `Auditor ${crypto.randomUUID()}`;
    const auditor = await createAdministrator({ client, body: { name, role: "auditor" } });
    const adminId = auditor.data!.result.adminId;
    const token = await createToken({ client, path: { adminId }, body: { name: "tests" } });
    const refused = await createApplication({ client: as(token.data!.result.token), body: { name: "x" } });
    const result = refused.error?.result;
    report("refused", result?.code === 403 && result?.reason === "roleTooLow", refused.error ?? refused.data);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
