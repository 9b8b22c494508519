// The button on an invite's page: hands the invite in, then goes to the chat.

import { Page } from "./page.js";

const page = await Page.open("");
const button = document.getElementById("join");
const said = document.getElementById("said");

button.addEventListener("click", async () => {
  button.disabled = true;
  said.textContent = page.say("join.working");
  try {
    await page.post("/api/join", { invite: location.pathname.split("/").pop() });
    location.replace("/chat");
  } catch (problem) {
    said.textContent = problem.message;
    button.disabled = false;
  }
});
