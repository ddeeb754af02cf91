// The scenario with Node's HTTP clients: fetch, and axios with form-data. See python_clients.py for what is printed.
//
//     node tests/clients/node_clients.mjs fetch

import { readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";

const env = process.env;
const url = env.CLIENT_URL;
const template = env.CLIENT_TEMPLATE;
const rounds = Number(env.CLIENT_ROUNDS);
const [enrol, probe, large] = [env.CLIENT_ENROL, env.CLIENT_PROBE, env.CLIENT_LARGE].map((path) => readFileSync(path));
const known = { "APP-ID": env.CLIENT_APP_ID, "APP-KEY": env.CLIENT_APP_KEY };
const unknown = { ...known, "APP-KEY": "wrong" };
const NOT_INSTALLED = 77;

function report(step, good, of, detail = "") {
    console.log([step, good, of, String(detail).replace(/\s+/g, " ").slice(0, 200)].join("\t"));
}

async function step(name, call, status, text) {
    try {
        const answer = await call();
        const good = answer.status === status && answer.text.includes(text);
        return { good, detail: `${name}: ${answer.status} ${answer.text}` };
    } catch (error) {
        return { good: false, detail: `${name}: ${error} ${error.cause ?? ""}` };
    }
}

async function scenario(send, kinds) {
    for (const [name, endpoint, photo, id] of [
        ["enrol", "add?replace=true", enrol, template],
        ["identify", "identify", probe, undefined],
    ]) {
        const { good, detail } = await step(name, () => send(endpoint, known, photo, id), 200, `"${template}"`);
        report(name, Number(good), 1, good ? "" : detail);
    }
    for (const [name, extra] of kinds) {
        let count = 0;
        let trouble = "";
        for (let round = 0; round < rounds; round++) {
            const headers = { ...unknown, ...extra };
            const refused = await step("refused", () => send("identify", headers, large), 401, '"code":401');
            const served = await step("next", () => send("identify", known, enrol), 200, `"${template}"`);
            count += Number(refused.good && served.good);
            trouble ||= [refused, served].find(({ good }) => !good)?.detail ?? "";
        }
        report(name, count, rounds, trouble);
    }
}

const plain = ["refused", {}];
const expect = ["refused, Expect", { Expect: "100-continue" }];

const clients = {
    // fetch has no `Expect`: it refuses to send the header.
    async fetch() {
        await scenario(async (endpoint, headers, photo, id) => {
            const body = new FormData();
            body.append("photo", new Blob([photo], { type: "image/jpeg" }), "photo.jpg");
            if (id) body.append("templateId", id);
            const answer = await fetch(`${url}/api/v1.0/${endpoint}`, { method: "POST", headers, body });
            return { status: answer.status, text: await answer.text() };
        }, [plain]);
    },

    async axios() {
        // From where run.py has installed it.
        const require = createRequire(`${env.CLIENT_NODE_MODULES}/`);
        const axios = require("axios");
        const FormData = require("form-data");
        const httpAgent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const client = axios.create({ httpAgent, timeout: 30000, validateStatus: () => true, responseType: "text" });
        await scenario(async (endpoint, headers, photo, id) => {
            const body = new FormData();
            body.append("photo", photo, { filename: "photo.jpg", contentType: "image/jpeg" });
            if (id) body.append("templateId", id);
            const all = { ...headers, ...body.getHeaders() };
            const answer = await client.post(`${url}/api/v1.0/${endpoint}`, body, { headers: all });
            return { status: answer.status, text: String(answer.data) };
        }, [plain, expect]);
        httpAgent.destroy();
    },
};

try {
    await clients[process.argv[2]]();
} catch (error) {
    console.error(String(error));
    process.exit(error.code === "MODULE_NOT_FOUND" ? NOT_INSTALLED : 1);
}
