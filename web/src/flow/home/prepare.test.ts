import { describe, expect, it } from "vitest";
import type { MonitorWindow } from "../../api/types";
import { placeOnRing, prepareMonths, sentenceValues } from "./prepare";

function window(
  label: string,
  served: number | undefined,
  versions: [number, number | undefined][],
  alerts = 0,
): MonitorWindow {
  return {
    label,
    start_ms: 0,
    end_ms: 1,
    champion: 1,
    served: { rows: 10, labelled: 9, ...(served === undefined ? {} : { auc: served }) },
    versions: versions.map(([version, auc]) => ({
      version,
      role: "champion",
      quality: { rows: 10, labelled: 9, ...(auc === undefined ? {} : { auc }) },
    })),
    drift: [],
    alerts: [],
    alert_count: alerts,
  };
}

describe("prepareMonths", () => {
  it("holds the loop against the first version that ever answered", () => {
    const months = prepareMonths(
      [
        window("2013-03", 0.75, [[1, 0.75]]),
        window(
          "2013-04",
          0.76,
          [
            [2, 0.76],
            [1, 0.73],
          ],
          2,
        ),
        window("2013-05", 0.77, [[3, 0.77]]),
      ],
      {
        name: "r",
        rules: [
          { metric: "brier", op: "<=", value: 0.2 },
          { metric: "auc", op: ">=", value: 0.68 },
        ],
      },
    );
    expect(months.loop).toEqual([0.75, 0.76, 0.77]);
    expect(months.frozen).toEqual([0.75, 0.73, null]);
    expect(months.alerted).toEqual([false, true, false]);
    expect(months.limit).toBe(0.68);
  });

  it("leaves gaps where nothing could be measured", () => {
    expect(prepareMonths([window("2013-03", undefined, [[1, undefined]])], null)).toEqual({
      labels: ["2013-03"],
      loop: [null],
      frozen: [null],
      alerted: [false],
      limit: null,
    });
    expect(prepareMonths([], null).labels).toEqual([]);
  });
});

describe("placeOnRing", () => {
  it("begins at the top and goes clockwise", () => {
    const places = placeOnRing(4, { x: 100, y: 50 }, { x: 40, y: 20 });
    expect(places.map(({ x, y }) => [Math.round(x), Math.round(y)])).toEqual([
      [100, 30],
      [140, 50],
      [100, 70],
      [60, 50],
    ]);
  });
});

describe("sentenceValues", () => {
  it("writes numbers in the reader's way and never leaves a hole for a missing AUC", () => {
    const room = {
      noun: "monitors",
      count: 1,
      state: "quiet" as const,
      what: "x",
      values: { rows: 1234567, window: "2013-03" },
    };
    expect(sentenceValues(room, "en")).toEqual({ auc: "–", rows: "1,234,567", window: "2013-03" });
    expect(sentenceValues({ ...room, values: { auc: 0.7 } }, "en")).toEqual({ auc: "0.700" });
  });
});
