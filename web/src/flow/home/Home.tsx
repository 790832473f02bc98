import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api } from "../../api/client";
import { ChainBadge, EventList } from "./EventList";
import { LoopPicture } from "./LoopPicture";
import { MonthsChart } from "./MonthsChart";

const eventsShown = 40;

// Asks again whenever something has happened, and every few seconds in case the stream was cut.
function useLive(): void {
  const client = useQueryClient();
  useEffect(() => {
    const source = new EventSource("/api/events/stream");
    let waiting = 0;
    source.onmessage = () => {
      window.clearTimeout(waiting);
      waiting = window.setTimeout(() => void client.invalidateQueries(), 200);
    };
    return () => {
      window.clearTimeout(waiting);
      source.close();
    };
  }, [client]);
}

function Fault({ error }: { error: unknown }) {
  const { t } = useTranslation();
  const sentences = t("errors", { returnObjects: true }) as Record<string, string>;
  if (!(error instanceof ApiError)) return <p role="alert">{String(error)}</p>;
  const { reason, message, remedy } = error.body;
  return (
    <p className="fault" role="alert">
      {sentences[reason] ?? `${message} ${remedy}`}
    </p>
  );
}

function Waiting() {
  const { t } = useTranslation();
  return <div className="skeleton" role="status" aria-label={t("loading")} />;
}

export function Home() {
  const { t } = useTranslation();
  useLive();
  const loop = useQuery({ queryKey: ["loop"], queryFn: ({ signal }) => api.loop(signal), refetchInterval: 2000 });
  const monitors = useQuery({
    queryKey: ["monitors"],
    queryFn: ({ signal }) => api.monitors(signal),
    refetchInterval: 10_000,
  });
  const monitor = monitors.data?.[0];
  const windows = useQuery({
    queryKey: ["windows", monitor?.name],
    queryFn: ({ signal }) => (monitor ? api.windows(monitor.name, signal) : []),
    enabled: monitors.isSuccess,
    refetchInterval: 10_000,
  });
  const requirement = useQuery({
    queryKey: ["requirement", monitor?.requirement],
    queryFn: ({ signal }) => (monitor?.requirement ? api.requirement(monitor.requirement, signal) : null),
    enabled: monitors.isSuccess,
  });
  const events = useQuery({
    queryKey: ["events"],
    queryFn: ({ signal }) => api.newestEvents(eventsShown, signal),
    refetchInterval: 5000,
  });
  const chain = useQuery({ queryKey: ["chain"], queryFn: ({ signal }) => api.verify(signal), refetchInterval: 30_000 });
  return (
    <main id="content">
      <section aria-labelledby="loop-heading">
        <h2 id="loop-heading">{t("loop.heading")}</h2>
        {loop.error && <Fault error={loop.error} />}
        {loop.data ? <LoopPicture loop={loop.data} /> : !loop.error && <Waiting />}
      </section>
      <section aria-labelledby="months-heading">
        <h2 id="months-heading">{t("months.heading")}</h2>
        {windows.data ? <MonthsChart windows={windows.data} requirement={requirement.data ?? null} /> : <Waiting />}
      </section>
      <section aria-labelledby="events-heading">
        <h2 id="events-heading">
          {t("events.heading")} <ChainBadge verification={chain.data} />
        </h2>
        {events.data ? <EventList events={events.data} /> : <Waiting />}
      </section>
    </main>
  );
}
