// Talks to the service; the page's own parser of quantities is the server's.

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const token = {
  get: () => sessionStorage.getItem("token") ?? "",
  set: (value) => (value ? sessionStorage.setItem("token", value) : sessionStorage.removeItem("token")),
};
export const setToken = token.set;

// What a header cannot carry, fetch would throw at; null where the token can be sent.
export function tokenFault(text) {
  const odd = [...text].find((sign) => !/[\x21-\x7e]/.test(sign));
  if (!text) return "Type the token first.";
  if (odd === undefined) return null;
  return `A token has no ${odd === " " ? "blanks" : `“${odd}”`}: only letters, digits and signs of ASCII can be sent.`;
}

async function send(path, options = {}) {
  const used = token.get();
  const headers = { ...options.headers, ...(used ? { Authorization: `Bearer ${used}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  let problem;
  try {
    problem = await response.json();
  } catch {
    problem = { detail: `The server answered ${response.status}; try again.`, code: "internal" };
  }
  if (response.status === 401) {
    problem = {
      code: "unauthorised",
      detail: used ? "The server does not take this token." : "This server asks for a token.",
    };
    // An answer to an earlier token must not ask for another one.
    if (used === token.get()) {
      window.dispatchEvent(new CustomEvent("unauthorised", { detail: { refused: Boolean(used) } }));
    }
  }
  throw new Refused(problem);
}

export function post(path, body, signal) {
  return send(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

export async function get(path) {
  return (await send(path)).json();
}
