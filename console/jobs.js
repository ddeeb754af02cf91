// Work that goes on at the server: waits for its end.

import { api, at } from "./api.js";

const POLL_MS = 700;

/** Begins a job by `start()` and waits until it is over; `progress(job)` hears of each step. Answers the job. */
export async function run(start, { signal, progress } = {}) {
  let job = await start();
  while (job.state === "running") {
    progress?.(job);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    job = await api.get(at`jobs/${job.jobId}`, undefined, { signal });
  }
  return job;
}
