import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative, so that the built page can be served from any folder.
  base: "./",
  plugins: [react()],
  // The SDK brings LangChain's message classes, which are most of the page's 190 kB (compressed).
  build: { chunkSizeWarningLimit: 800 },
});
