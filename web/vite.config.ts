import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The binary holds dist/: hashed files are cached for ever, index.html never.
export default defineConfig({
  plugins: [react()],
  build: { outDir: "dist", assetsInlineLimit: 0, chunkSizeWarningLimit: 900 },
  server: { proxy: { "/api": "http://127.0.0.1:7070" } },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"] },
});
