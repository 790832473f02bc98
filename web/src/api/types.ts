// The shapes of the answers that the console reads, field by field as the engine's structs.

export interface RoomState {
  noun: string;
  count: number;
  state: "quiet" | "active" | "waiting" | "alert";
  what: string; // key of the translated line, such as "deployments.serving"
  values: Record<string, string | number>;
}

export interface Loop {
  idle: boolean;
  turns: number; // how often a trigger has started a pipeline
  rooms: RoomState[];
}

export interface Quality {
  rows: number;
  labelled: number;
  auc?: number;
  auc_low?: number;
  auc_high?: number;
  brier?: number;
}

export interface VersionQuality {
  version: number;
  role: "champion" | "candidate" | "shadow";
  quality: Quality;
}

export interface Alert {
  kind: "requirement" | "drift" | "score_drift";
  subject: string;
  value: number;
  limit: number;
  message: string;
}

export interface FeatureDrift {
  feature: string;
  psi: number;
}

export interface MonitorWindow {
  label: string;
  start_ms: number;
  end_ms: number;
  champion: number;
  served: Quality;
  versions: VersionQuality[];
  drift: FeatureDrift[];
  alerts: Alert[];
  alert_count: number;
}

export interface Monitor {
  name: string;
  deployment: string;
  requirement: string;
}

export interface Event {
  seq: number;
  at_ms: number;
  kind: string;
  subject: string;
  actor: string;
  payload: Record<string, unknown>;
}

export interface Verification {
  ok: boolean;
  events: number;
  broken_seq: number;
  head_hash: string;
  message: string;
}

export interface Deployment {
  name: string;
  model: string;
  champion: number;
  candidate?: { version: number; percent: number } | null;
  state: string;
}

export interface Requirement {
  name: string;
  rules: { metric: string; op: string; value: number }[];
}

export interface ErrorBody {
  code: string;
  reason: string;
  message: string;
  remedy: string;
  details?: Record<string, string>;
}
