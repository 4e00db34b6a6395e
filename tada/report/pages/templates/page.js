"use strict";
// Pages are readable without this: it adds the colours' switch, sorting, filters, details of numbers, and a sign beside
// tables that scroll. Nothing is fetched.
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

const remember = value => { try { localStorage.setItem("tada-theme", value); } catch { /* a page in a frame has none */ } };
const remembered = () => { try { return localStorage.getItem("tada-theme") || ""; } catch { return ""; } };
for (const select of all("[data-theme-switch]")) {
    const apply = value => {
        if (value) document.documentElement.dataset.theme = value;
        else delete document.documentElement.dataset.theme;
    };
    select.value = remembered();
    apply(select.value);
    select.addEventListener("change", () => { apply(select.value); remember(select.value); });
}

for (const scroll of all(".scroll")) {
    const frame = document.createElement("div");
    frame.className = "frame";
    scroll.replaceWith(frame);
    frame.append(scroll);
    const look = () => {
        const hidden = scroll.scrollWidth - scroll.clientWidth;
        frame.classList.toggle("more", hidden - scroll.scrollLeft > 2);
        scroll.tabIndex = hidden > 2 ? 0 : -1;  // a stop only where there is something to scroll
    };
    scroll.addEventListener("scroll", look, {passive: true});
    new ResizeObserver(look).observe(scroll);
    look();
}

// A number with its unit, or the text; nothing stands last.
const key = text => {
    const number = /^[<+]?(-?\d+(?:\.\d+)?)/.exec(text.replaceAll(",", "").replaceAll("−", "-"));
    return number ? Number(number[1]) : text.trim().toLowerCase();
};
const compare = (one, other) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return one < other ? -1 : one > other ? 1 : 0;
};

for (const table of all("table[data-sort]")) {
    const stacked = table.classList.contains("stacked");
    const units = () => stacked ? all("tbody", table) : all("tbody > tr", table);
    const original = units();
    if (stacked) for (const body of original) {
        // Where a row is a card, on a narrow screen, a column that is empty there is no line of it.
        const columns = [...body.rows[0].cells].map((_, place) => [...body.rows].map(row => row.cells[place]));
        const blank = columns.filter(cells => cells.every(cell => !cell.textContent.trim()));
        for (const cell of blank.flat()) cell.classList.add("blank");
        body.style.setProperty("--cells", columns.length - blank.length);
    }
    const tools = table.closest(".frame").previousElementSibling;
    const status = tools.querySelector("[role=status]");
    tools.hidden = false;
    if (original.length > 1) all("thead tr:last-child th", table).forEach((head, place) => {
        if (!head.textContent) return;
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        head.replaceChildren(button);
        // Of a stacked row, what was measured, where it was; else what the paper reports.
        const text = unit => {
            const lines = stacked ? [unit.rows[1], unit.rows[0]] : [unit];
            return lines.map(line => line?.cells[place]?.textContent.trim() || "").find(Boolean) || "";
        };
        button.addEventListener("click", () => {
            const next = {none: "ascending", ascending: "descending", descending: "none"}[head.getAttribute("aria-sort") || "none"];
            all("thead th", table).forEach(other => other.removeAttribute("aria-sort"));
            if (next !== "none") head.setAttribute("aria-sort", next);
            const sorted = next === "none" ? original : [...original].sort((one, other) => {
                const [a, b] = [key(text(one)), key(text(other))];
                return a === "" || b === "" || next === "ascending" ? compare(a, b) : compare(b, a);
            });
            const parent = stacked ? table : table.tBodies[0];
            parent.append(...sorted);
            status.textContent = next === "none" ? "in the paper's order" : `sorted by ${button.textContent}, ${next}`;
        });
    });
    tools.querySelector("[data-search]")?.addEventListener("input", event => {
        const words = event.target.value.toLowerCase();
        for (const unit of original) unit.hidden = !unit.textContent.toLowerCase().includes(words);
        const shown = original.filter(unit => !unit.hidden).length;
        status.textContent = `${shown} of ${original.length} rows`;
    });
}

for (const filter of all("[data-filters]")) {
    const target = document.getElementById(filter.dataset.filters);
    filter.addEventListener("change", () => {
        const shown = new Set(all("input:checked", filter).map(box => box.value));
        for (const one of all("[data-verdict]", target)) {
            if (one.matches("button")) one.classList.toggle("dim", !shown.has(one.dataset.verdict));
            else one.hidden = !shown.has(one.dataset.verdict);
        }
        for (const group of all(".group", target)) group.hidden = all(".claim", group).every(one => one.hidden);
    });
}

// Details of a number: by pointer, by focus, by tap. One stop of Tab for each grid, arrows within it.
const detail = document.createElement("div");
detail.id = "detail";
detail.setAttribute("role", "tooltip");
detail.hidden = true;
document.body.append(detail);
let described = null;
const hide = () => { detail.hidden = true; described?.removeAttribute("aria-describedby"); described = null; };
const show = button => {
    if (described !== button) hide();
    described = button;
    const heading = document.createElement("h4");
    heading.textContent = button.dataset.name;
    const list = document.createElement("dl");
    for (const line of button.dataset.about.split("\n")) {
        const [label, ...text] = line.split("\t");
        const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
        term.textContent = label;
        meaning.textContent = text.join(" ");
        list.append(term, meaning);
    }
    detail.replaceChildren(heading, list);
    detail.hidden = false;
    button.setAttribute("aria-describedby", "detail");
    const [at, size] = [button.getBoundingClientRect(), detail.getBoundingClientRect()];
    const below = at.bottom + 8 + size.height < innerHeight;
    detail.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    detail.style.top = `${Math.max(8, below ? at.bottom + 8 : at.top - size.height - 8)}px`;
};
for (const grid of all("[data-grid]")) {
    const rows = all("tbody tr", grid).map(row => [...row.cells].slice(1).map(cell => cell.querySelector("button")));
    const buttons = rows.flat().filter(Boolean);
    if (buttons.length) buttons[0].tabIndex = 0;
    const go = button => {
        buttons.forEach(one => { one.tabIndex = one === button ? 0 : -1; });
        button.focus();
    };
    grid.addEventListener("keydown", event => {
        const row = rows.findIndex(line => line.includes(event.target));
        if (row < 0) return;
        const column = rows[row].indexOf(event.target);
        const [down, right] = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key] || [0, 0];
        let next = null;
        if (event.key === "Home") next = rows[row].find(Boolean);
        else if (event.key === "End") next = rows[row].findLast(Boolean);
        else if (down || right) {
            let [y, x] = [row + down, column + right];
            while (rows[y]?.length > x && x >= 0 && !rows[y][x]) [y, x] = [y + down, x + right];
            next = rows[y]?.[x];
        } else return;
        event.preventDefault();
        if (next) go(next);
    });
    for (const button of buttons) {
        button.addEventListener("focus", () => show(button));
        button.addEventListener("blur", hide);
        button.addEventListener("pointerenter", event => { if (event.pointerType !== "touch") show(button); });
        button.addEventListener("pointerleave", () => { if (document.activeElement !== button) hide(); });
        button.addEventListener("click", () => { go(button); show(button); });
    }
}
addEventListener("keydown", event => { if (event.key === "Escape") hide(); });

// A link to what stands in a closed part opens it.
const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let part = target; part; part = part.parentElement) if (part.matches("details")) part.open = true;
    if (target) target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
