// Asks the admin what a patient would pay while the form of a service is filled in.
(() => {
  const WAIT_MS = 250;

  document.addEventListener("DOMContentLoaded", () => {
    const card = document.getElementById("price-preview");
    const form = card && card.closest("form");
    if (!form) return;
    let timer, asked = 0;

    const show = (prices) => {
      const table = card.querySelector("table");
      table.classList.toggle("hidden", prices.length === 0);
      card.querySelector("[data-empty]").classList.toggle("hidden", prices.length > 0);
      table.tBodies[0].replaceChildren(...prices.map(row));
    };

    const row = (price) => {
      const line = document.createElement("tr");
      line.toggleAttribute("data-surge", price.surge);
      for (const text of [price.when, price.base, price.fee, price.gst, "₹ " + price.total]) line.insertCell().textContent = text;
      return line;
    };

    const ask = async () => {
      const mine = ++asked;
      const answer = await fetch(card.dataset.url, { method: "POST", body: new FormData(form), credentials: "same-origin" });
      if (answer.ok && mine === asked) show((await answer.json()).prices);
    };

    const askSoon = () => { clearTimeout(timer); timer = setTimeout(ask, WAIT_MS); };
    form.addEventListener("input", askSoon);
    form.addEventListener("change", askSoon);
    form.addEventListener("click", askSoon); // rows come and go by buttons
    ask();
  });
})();
