// Work that goes on at the server: waits for its end, and saves its file.

import { api, at, request } from "./api.js";
import { t } from "./i18n.js";
import { save, toast } from "./ui.js";

const POLL_MS = 700;
const OVER = ["done", "failed", "cancelled", "canceled", "succeeded", "ended"];

/** Starts a job by `start()` and waits until it is over; `progress(job)` hears of each step. */
export async function run(start, { signal, progress } = {}) {
  const begun = await start();
  let job = begun.job ?? begun;
  while (!OVER.includes(job.state)) {
    progress?.(job);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const found = await api.get(at`jobs/${job.jobId}`, undefined, { signal });
    job = found.job ?? found;
  }
  return job;
}

/** Runs a job and saves its result file under this name. Answers the job. */
export async function jobFile(start, name, signal) {
  const job = await run(start, { signal });
  if (job.state === "failed" || job.failure) {
    toast(job.failure?.info ?? job.failure ?? t("job.failed"), "bad");
    return job;
  }
  if (!name) return job;
  const response = await request("GET", at`jobs/${job.jobId}/file`, { signal, raw: true });
  save(await response.blob(), name);
  toast(t("job.saved", { name }), "good");
  return job;
}
