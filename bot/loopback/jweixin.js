// A stand-in of our own for the platforms' JS-SDK, served by the loopback platforms. It holds no line of the real one.
//
// Signatures are checked by the platform that handed out the tickets; positions are the browser's.

(() => {
  const base = new URL(document.currentScript.src).origin;
  let ready = () => {};
  let failed = () => {};
  let standing = "";
  let refuses = "";
  let ticked = () => {};

  const ask = (path, values) => {
    const script = document.createElement("script");
    script.src = `${base}/${path}?${new URLSearchParams(values)}`;
    document.head.append(script);
  };

  window.__standIn = {
    checked(result) {
      standing = result.errMsg;
      refuses = result.refuses;
      if (standing === "config:ok") ready();
      else failed({ errMsg: standing });
    },
    ticked: (detail) => ticked(detail),
  };

  window.wx = {
    config({ appId, timestamp, nonceStr, signature }) {
      ask("sdk/check", { appId, timestamp, nonceStr, signature, url: location.href.split("#")[0] });
    },
    ready: (act) => (standing === "config:ok" ? act() : (ready = act)),
    error: (act) => (failed = act),
    closeWindow: () => document.body.replaceChildren("closed"),
    getLocation({ type, success, fail, cancel }) {
      if (standing !== "config:ok") return fail({ errMsg: "getLocation:fail, the permission value is offline verifying" });
      if (type !== "wgs84") return fail({ errMsg: "getLocation:fail, another datum" });
      if (refuses === "cancel") return cancel({ errMsg: "getLocation:cancel" });
      if (refuses) return fail({ errMsg: `getLocation:fail, ${refuses}` });
      navigator.geolocation.getCurrentPosition(
        ({ coords }) =>
          success({
            errMsg: "getLocation:ok",
            latitude: String(coords.latitude), // some clients give text
            longitude: String(coords.longitude),
            accuracy: String(coords.accuracy),
            speed: 0,
          }),
        () => fail({ errMsg: "getLocation:fail auth deny" }),
      );
    },
  };

  class Box extends HTMLElement {
    connectedCallback() {
      const parts = [...this.querySelectorAll("script")].sort((one) => (one.slot === "style" ? -1 : 1));
      this.attachShadow({ mode: "open" }).innerHTML = parts.map((one) => one.textContent).join("");
      this.addEventListener("click", () => {
        ticked = (detail) => this.dispatchEvent(new CustomEvent("success", { detail }));
        ask("sdk/box", { template: this.getAttribute("template") });
      });
    }
  }
  customElements.define("wx-open-subscribe", Box);
})();
