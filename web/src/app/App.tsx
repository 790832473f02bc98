import { useTranslation } from "react-i18next";
import { Home } from "../flow/home";
import { chooseLanguage } from "../i18n";

export function App() {
  const { t, i18n } = useTranslation();
  return (
    <>
      <a className="skip" href="#content">
        {t("skip")}
      </a>
      <header>
        <img src="/icon.svg" alt="" width={32} height={32} />
        <h1>{t("title")}</h1>
        <span className="tagline">{t("tagline")}</span>
        <button type="button" id="language" onClick={() => chooseLanguage(i18n.language === "zh" ? "en" : "zh")}>
          {t("language")}
        </button>
      </header>
      <Home />
    </>
  );
}
