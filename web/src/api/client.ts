import type { Deployment, ErrorBody, Event, Loop, Monitor, MonitorWindow, Requirement, Verification } from "./types";

// An answer that is not the wanted one, or none at all. `reason` is the key that i18n translates.
export class ApiError extends Error {
  readonly status: number;
  readonly body: ErrorBody;

  constructor(status: number, body: ErrorBody) {
    super(body.message);
    this.status = status;
    this.body = body;
  }
}

const unreachable: ErrorBody = {
  code: "unavailable",
  reason: "client.unreachable",
  message: "The server does not answer.",
  remedy: "It is tried again by itself.",
};

// The one place that talks to the engine. Rejects with ApiError; an aborted request rejects as fetch does.
async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" }, ...(signal ? { signal } : {}) });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(0, unreachable);
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  const error = (body as { error?: ErrorBody } | null)?.error;
  throw new ApiError(
    response.status,
    error ?? {
      ...unreachable,
      reason: "client.unexpected",
      message: `The server answered ${response.status}.`,
      remedy: "",
    },
  );
}

const segment = encodeURIComponent;

export const api = {
  loop: (signal?: AbortSignal) => get<Loop>("/api/loop", signal),
  monitors: (signal?: AbortSignal) => get<{ monitors: Monitor[] }>("/api/monitors", signal).then((a) => a.monitors),
  windows: (monitor: string, signal?: AbortSignal) =>
    get<{ windows: MonitorWindow[] }>(`/api/monitors/${segment(monitor)}/windows`, signal).then((a) => a.windows),
  deployments: (signal?: AbortSignal) =>
    get<{ deployments: Deployment[] }>("/api/deployments", signal).then((a) => a.deployments),
  requirement: (name: string, signal?: AbortSignal) => get<Requirement>(`/api/requirements/${segment(name)}`, signal),
  newestEvents: (limit: number, signal?: AbortSignal) =>
    get<{ events: Event[] }>(`/api/events?newest_first=true&limit=${limit}`, signal).then((a) => a.events),
  eventsOf: (kind: string, limit: number, signal?: AbortSignal) =>
    get<{ events: Event[] }>(`/api/events?kind_prefix=${segment(kind)}&limit=${limit}`, signal).then((a) => a.events),
  verify: (signal?: AbortSignal) => get<Verification>("/api/events/verify", signal),
};
