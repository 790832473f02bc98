import { useTranslation } from "react-i18next";
import type { Loop, RoomState } from "../../api/types";
import { formatCount } from "../../lib/format";
import { placeOnRing, sentenceValues } from "./prepare";

const size = { width: 960, height: 470 };
const box = { width: 196, height: 76 };
const centre = { x: size.width / 2, y: size.height / 2 };

function Room({ room, x, y }: { room: RoomState; x: number; y: number }) {
  const { t, i18n } = useTranslation();
  // Keys of sentences hold a dot themselves, so they are looked up in their own table.
  const sentences = t("rooms", { returnObjects: true }) as Record<string, string>;
  const text = fill(sentences[room.what] ?? room.what, sentenceValues(room, i18n.language));
  return (
    <foreignObject x={x - box.width / 2} y={y - box.height / 2} width={box.width} height={box.height}>
      <div className={`room room-${room.state}`} data-noun={room.noun} data-state={room.state}>
        <div className="room-head">
          <span className="room-noun">{t(`nouns.${room.noun}`)}</span>
          <span className="room-count">{formatCount(room.count, i18n.language)}</span>
        </div>
        <div className="room-text" title={text}>
          {text}
        </div>
        <div className="room-mood">{t(`moods.${room.state}`)}</div>
      </div>
    </foreignObject>
  );
}

function fill(text: string, values: Record<string, string>): string {
  return text.replace(/{{(\w+)}}/g, (_, key: string) => values[key] ?? "");
}

// The circle of the life cycle, each room with what it is doing. It turns while something is at work.
export function LoopPicture({ loop }: { loop: Loop }) {
  const { t } = useTranslation();
  const places = placeOnRing(loop.rooms.length, centre, { x: 372, y: 186 });
  return (
    <svg className="loop" viewBox={`0 0 ${size.width} ${size.height}`} role="img" aria-label={t("loop.heading")}>
      <ellipse className={loop.idle ? "ring" : "ring ring-turning"} cx={centre.x} cy={centre.y} rx={372} ry={186} />
      <text className="loop-state" x={centre.x} y={centre.y - 6} textAnchor="middle">
        {loop.idle ? t("loop.idle") : t("loop.busy")}
      </text>
      <text className="loop-note" x={centre.x} y={centre.y + 20} textAnchor="middle">
        {t("loop.log")}
      </text>
      {loop.rooms.map((room, i) => (
        <Room key={room.noun} room={room} x={places[i]?.x ?? 0} y={places[i]?.y ?? 0} />
      ))}
    </svg>
  );
}
