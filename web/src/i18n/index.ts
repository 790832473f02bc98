import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./en.json";
import zh from "./zh.json";

export const languages = ["en", "zh"] as const;
export type Language = (typeof languages)[number];

const kept = "tidemill.language";

// The language of the address (?lang=zh), else the one chosen last, else the browser's.
function firstLanguage(): Language {
  const asked = new URLSearchParams(window.location.search).get("lang") ?? window.localStorage.getItem(kept);
  const wanted = asked ?? navigator.language;
  return wanted.startsWith("zh") ? "zh" : "en";
}

export function chooseLanguage(language: Language): void {
  window.localStorage.setItem(kept, language);
  void i18next.changeLanguage(language);
}

export function startI18n(): void {
  void i18next.use(initReactI18next).init({
    resources: { en: { translation: en }, zh: { translation: zh } },
    lng: firstLanguage(),
    fallbackLng: "en",
    interpolation: { escapeValue: false }, // React escapes
    keySeparator: ".",
  });
  const follow = (language: string) => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = i18next.t("title");
  };
  follow(i18next.language);
  i18next.on("languageChanged", follow);
}
