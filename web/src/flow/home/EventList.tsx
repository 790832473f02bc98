import { useTranslation } from "react-i18next";
import type { Event, Verification } from "../../api/types";
import { formatCount, formatTime } from "../../lib/format";

// What the chain's check says, never by colour alone.
export function ChainBadge({ verification }: { verification: Verification | undefined }) {
  const { t, i18n } = useTranslation();
  if (!verification) return <span className="badge">{t("events.unchecked")}</span>;
  if (!verification.ok)
    return <span className="badge badge-bad">✗ {t("events.broken", { seq: verification.broken_seq })}</span>;
  return (
    <span className="badge badge-good">
      ✓ {t("events.chain", { events: formatCount(verification.events, i18n.language) })}
    </span>
  );
}

function detail(event: Event): string {
  const { cause, reason, window } = event.payload;
  return [window, cause ?? reason].filter((part) => typeof part === "string" && part !== "").join(": ");
}

export function EventList({ events }: { events: Event[] }) {
  const { t, i18n } = useTranslation();
  if (events.length === 0) return <p className="empty">{t("events.none")}</p>;
  return (
    <ol className="events">
      {events.map((event) => (
        <li key={event.seq}>
          <div>
            <span className="event-kind">{event.kind}</span> <span className="event-subject">{event.subject}</span>
          </div>
          {detail(event) && <div className="event-detail">{detail(event)}</div>}
          <div className="event-meta">
            #{event.seq} · {formatTime(event.at_ms, i18n.language)} · {t("events.who")} {event.actor}
          </div>
        </li>
      ))}
    </ol>
  );
}
