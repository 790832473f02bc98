import { LineChart } from "echarts/charts";
import { AriaComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { MonitorWindow, Requirement } from "../../api/types";
import { formatCount, formatScore } from "../../lib/format";
import { aucOf, firstVersion, type Months, prepareMonths } from "./prepare";

echarts.use([
  LineChart,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TooltipComponent,
  AriaComponent,
  CanvasRenderer,
]);

function option(months: Months, words: { loop: string; frozen: string; limit: string }, dark: boolean) {
  const ink = dark ? "#c9d1d9" : "#24292f";
  const limit = months.limit === null ? {} : { markLine: limitLine(months.limit, words.limit, ink) };
  return {
    aria: { enabled: true },
    animation: false,
    textStyle: { color: ink },
    grid: { left: 48, right: 90, top: 36, bottom: 28 },
    legend: { top: 0, textStyle: { color: ink } },
    tooltip: { trigger: "axis", valueFormatter: (value: number | null) => (value === null ? "–" : value.toFixed(4)) },
    xAxis: { type: "category", data: months.labels, axisLabel: { color: ink } },
    yAxis: { type: "value", scale: true, name: "AUC", axisLabel: { color: ink }, nameTextStyle: { color: ink } },
    series: [
      {
        name: words.loop,
        type: "line",
        lineStyle: { width: 3 },
        color: dark ? "#3fb6c8" : "#0b7285",
        data: months.loop.map((value, i) => ({
          value,
          symbol: months.alerted[i] ? "diamond" : "circle",
          symbolSize: months.alerted[i] ? 12 : 7,
        })),
        ...limit,
      },
      {
        name: words.frozen,
        type: "line",
        lineStyle: { width: 2, type: "dashed" },
        color: dark ? "#f0a35e" : "#b35900",
        symbolSize: 6,
        data: months.frozen,
      },
    ],
  };
}

function limitLine(limit: number, word: string, ink: string) {
  return {
    symbol: "none",
    label: { formatter: `${word} ${limit}`, color: ink },
    lineStyle: { color: ink, type: "dotted" },
    data: [{ yAxis: limit }],
  };
}

export function MonthsChart({ windows, requirement }: { windows: MonitorWindow[]; requirement: Requirement | null }) {
  const { t, i18n } = useTranslation();
  const place = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the words change with the language
  useEffect(() => {
    if (!place.current || windows.length === 0) return;
    const chart = echarts.init(place.current);
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    const words = { loop: t("months.loop"), frozen: t("months.frozen"), limit: t("months.limit") };
    chart.setOption(option(prepareMonths(windows, requirement), words, dark));
    const fit = () => chart.resize();
    window.addEventListener("resize", fit);
    return () => {
      window.removeEventListener("resize", fit);
      chart.dispose();
    };
  }, [windows, requirement, i18n.language]);
  if (windows.length === 0) return <p className="empty">{t("months.none")}</p>;
  const first = firstVersion(windows);
  return (
    <>
      <div className="chart" ref={place} role="img" aria-label={t("months.description")} />
      <table className="months">
        <thead>
          <tr>
            <th scope="col">{t("months.month")}</th>
            <th scope="col">{t("months.predictions")}</th>
            <th scope="col">{t("months.frozen")}</th>
            <th scope="col">{t("months.loop")}</th>
            <th scope="col">{t("months.cause")}</th>
          </tr>
        </thead>
        <tbody>
          {windows.map((entry) => (
            <tr key={entry.label}>
              <th scope="row">{entry.label}</th>
              <td className="number">{formatCount(entry.served.rows, i18n.language)}</td>
              <td className="number">{formatScore(aucOf(entry, first) ?? undefined, i18n.language)}</td>
              <td className="number">{formatScore(entry.served.auc, i18n.language)}</td>
              <td>
                {entry.alerts
                  .map((alert) => alert.message)
                  .slice(0, 3)
                  .join("; ")}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
