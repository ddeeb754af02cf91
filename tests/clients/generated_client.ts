// What an integrator writes with the generated client: enrol, identify, and a refusal.

import { readFileSync } from "node:fs";
import { createClient } from "./client/client";
import { add, identify } from "./client/sdk.gen";

const env = process.env as Record<string, string>;
const template = env.CLIENT_TEMPLATE;
const known = { "APP-ID": env.CLIENT_APP_ID, "APP-KEY": env.CLIENT_APP_KEY };
const client = createClient({ baseUrl: env.CLIENT_URL, headers: known });

function photo(name: string): Blob {
    return new Blob([readFileSync(env[name])], { type: "image/jpeg" });
}

function report(step: string, good: boolean, detail: unknown) {
    console.log([step, Number(good), 1, good ? "" : JSON.stringify(detail)].join("\t"));
}

async function main() {
    const enrolled = await add({
        client,
        body: { photo: photo("CLIENT_ENROL"), templateId: template },
        query: { replace: true, check_liveness: true },
    });
    report("enrol", enrolled.data?.result.templateId === template, enrolled.error ?? enrolled.data);
    const found = await identify({ client, body: { photo: photo("CLIENT_PROBE") }, query: { candidates: 2 } });
    report("identify", found.data?.result.templateId === template, found.error ?? found.data);
    const refused = await identify({
        client,
        body: { photo: photo("CLIENT_PROBE") },
        headers: { ...known, "APP-KEY": "wrong" },
    });
    report("refused", refused.error?.result.code === 401, refused.error ?? refused.data);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
