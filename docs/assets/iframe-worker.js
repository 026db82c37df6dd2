// Browsers start no web worker from a page on disk. The search's worker then runs in a hidden
// frame: messages to it are events there, its own answers come as messages of the frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc =
        '<script>postMessage = (data) => parent.postMessage(data, "*")</script>' +
        `<script src="${url}"></script>`;
      this.loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
      this.frame = frame;
      addEventListener("message", ({ source, data }) => {
        if (source === frame.contentWindow) this.dispatchEvent(new MessageEvent("message", { data }));
      });
      document.body.append(frame);
    }

    postMessage(data) {
      this.loaded.then(() =>
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })),
      );
    }

    terminate() {
      this.frame.remove();
    }
  };
}
