// The service, as the page asks it. Paths are relative, so that the page works behind a proxy under any path.

const RETRIES = 5;
let key = "";

/** An error that the service told, with its code and what to do; of the network itself where there is no answer. */
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code;
    this.title = problem.title;
  }
}

/** Uses an API key from now on. It stays in this page's memory, and is gone with it. */
export function useKey(given) {
  key = given;
}

/** Whether an API key is used. */
export function hasKey() {
  return key !== "";
}

/** The answer to a request; where the service is busy or not ready, it is asked again when it says. */
export async function ask(path, { method = "GET", body, onWait, signal } = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  for (let attempt = 0; ; attempt++) {
    let response;
    try {
      response = await fetch(path, { method, body, headers, signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, { code: "unreachable", title: "", detail: String(error.message) });
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ code: "unknown", title: response.statusText, detail: "" }));
    const wait = Number(response.headers.get("Retry-After"));
    if (!wait || attempt === RETRIES) throw new Problem(response.status, problem);
    onWait?.(problem);
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
}

/** The path of a segmentation with these parameters; those without a value are left out. */
export function segmentPath(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `v1/segment?${new URLSearchParams(given)}`;
}

/** Sends an expert's correction. */
export function correct(content) {
  const body = new Blob([JSON.stringify(content)], { type: "application/json" });
  return ask("v1/corrections", { method: "POST", body });
}

/** Segments a file. */
export function segment(file, parameters, options) {
  const body = new FormData();
  body.append("image", file, "image");
  return ask(segmentPath(parameters), { method: "POST", body, ...options });
}
