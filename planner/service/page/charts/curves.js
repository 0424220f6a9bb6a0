// What the two charts over the budget share: words of methods and terms, marks of extrapolation.

import * as format from "../format.js";

export const METHOD_WORDS = {
  "best-case": "best case: the teacher costs nothing",
  "teacher-inference": "pay teacher inference",
  "teacher-pretraining": "pay teacher pretraining",
  full: "pay both (full)",
  custom: "pay your shares (custom)",
};

export const TERMS = {
  student_training: "student training",
  teacher_inference: "teacher inference",
  teacher_pretraining: "teacher pretraining",
  serving: "serving",
};

export const chosenOf = (methods) => methods.find((each) => each.chosen) ?? methods[0];

// A loss, marked where it is extrapolated.
export function marked(value, inside) {
  return value === null ? "no plan fits" : format.loss(value) + (inside ? "" : " ✳");
}

// What a table says of a value's place.
export const placed = (value) => (value === "true" ? "yes" : "no, extrapolated");

// In a table: whether a value lies where the law was measured; nothing where there is none.
export const measured = (value, inside) => (value === null ? "" : String(inside));
