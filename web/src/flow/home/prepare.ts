import type { MonitorWindow, Requirement, RoomState } from "../../api/types";

// What the chart of months draws: pure, so that it can be tested without a canvas.
export interface Months {
  labels: string[];
  loop: (number | null)[];
  frozen: (number | null)[];
  alerted: boolean[];
  limit: number | null;
}

// The first version that ever answered is what the loop is held against.
export function firstVersion(windows: MonitorWindow[]): number {
  const versions = windows.flatMap((window) => window.versions.map((entry) => entry.version));
  return versions.length > 0 ? Math.min(...versions) : 0;
}

export function aucOf(window: MonitorWindow, version: number): number | null {
  return window.versions.find((entry) => entry.version === version)?.quality.auc ?? null;
}

export function prepareMonths(windows: MonitorWindow[], requirement: Requirement | null): Months {
  const first = firstVersion(windows);
  return {
    labels: windows.map((window) => window.label),
    loop: windows.map((window) => window.served.auc ?? null),
    frozen: windows.map((window) => aucOf(window, first)),
    alerted: windows.map((window) => window.alert_count > 0),
    limit: requirement?.rules.find((rule) => rule.metric === "auc")?.value ?? null,
  };
}

export interface Place {
  x: number;
  y: number;
}

// Points on an ellipse, clockwise from the top.
export function placeOnRing(count: number, centre: Place, radius: Place): Place[] {
  return Array.from({ length: count }, (_, i) => {
    const angle = (i / count) * 2 * Math.PI - Math.PI / 2;
    return { x: centre.x + radius.x * Math.cos(angle), y: centre.y + radius.y * Math.sin(angle) };
  });
}

// Numbers in a room's sentence as the reader's language writes them.
export function sentenceValues(room: RoomState, language: string): Record<string, string> {
  const whole = new Intl.NumberFormat(language);
  const score = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
  return Object.fromEntries(
    Object.entries({ auc: "–", ...room.values }).map(([key, value]) => {
      if (typeof value !== "number") return [key, value];
      return [key, key === "auc" ? score.format(value) : whole.format(value)];
    }),
  );
}
