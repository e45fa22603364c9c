// Builds the page into dist/, which is committed: the edge embeds it, so that cargo needs no node.
import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  esbuild: { legalComments: "none" },
  build: {
    target: "es2022",
    outDir: "dist",
    // The page's policy allows no data: addresses and no inline script.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: true,
  },
});
