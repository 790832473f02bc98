// Numbers and times as the reader's language writes them.

export function formatCount(value: number, language: string): string {
  return new Intl.NumberFormat(language).format(value);
}

export function formatScore(value: number | undefined, language: string): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 }).format(value);
}

export function formatTime(atMs: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" }).format(atMs);
}
