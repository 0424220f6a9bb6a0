// Numbers on axes and under the pointer, in the digits of planner/units.py.
// Recipes are never formatted here: the server sends their cells as text.

const COUNTS = [["T", 1e12], ["B", 1e9], ["M", 1e6], ["K", 1e3]];

export function count(value, digits = 3) {
  if (value === null || !Number.isFinite(value)) return "–";
  for (const [suffix, scale] of COUNTS) {
    if (value >= scale * (1 - 0.5 * 10 ** -digits)) {
      const scaled = value / scale;
      return scaled >= 1e4 ? scientific(value, digits) : trim(scaled, digits) + suffix;
    }
  }
  return trim(value, digits);
}

export const flops = (value) => (value === 0 ? "0" : scientific(value, 3));
export const loss = (value) => (value === null ? "–" : value.toFixed(4));
export const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)}%`);
export const signed = (value) =>
  value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(4);

export function scientific(value, digits) {
  let [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  if (mantissa.includes(".")) mantissa = mantissa.replace(/0+$/, "").replace(/\.$/, "");
  return `${mantissa}e${Number(exponent)}`;
}

function trim(value, digits) {
  const whole = value ? Math.floor(Math.log10(Math.abs(value))) + 1 : 1;
  const text = value.toFixed(Math.max(0, digits - whole));
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
export function power(value) {
  const exponent = Math.round(Math.log10(value));
  const raised = [...String(exponent)].map((c) => (c === "-" ? "⁻" : SUPERSCRIPTS[c])).join("");
  return `10${raised}`;
}

// A slider's exponent in three digits, as text that the server will parse.
export function exponentText(exponent, counted) {
  const value = 10 ** Number(exponent);
  if (!counted) return scientific(value, 3);
  for (const [suffix, scale] of [["T", 1e12], ["B", 1e9], ["M", 1e6]]) {
    if (value >= scale * 0.9995) return `${Number((value / scale).toPrecision(3))}${suffix}`;
  }
  return scientific(value, 3);
}
