#include "data/scenes/ice_codes.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "kernels/error.h"

namespace fulmar::data::scenes {

namespace {

constexpr int64_t not_filled = -9, no_class = 255, unlisted = 99;
constexpr double dominates = 0.65;  // share of the ice

using Three = std::array<int64_t, 3>;

int64_t class_of_concentration(int64_t code) {
  if (code == 0 || code == 1 || code == 2 || code == 55) return 0;
  if (code == 91 || code == 92) return 10;
  if (code == unlisted) return no_class;
  if (code >= 10 && code <= 90 && code % 10 == 0) return code / 10;
  return code;
}

int64_t class_of_stage(int64_t code) {
  switch (code) {
    case 0:
    case 80:
      return 0;
    case 81:
    case 82:
      return 1;
    case 83:
    case 84:
    case 85:
      return 2;
    case 87:
    case 88:
    case 89:
      return 3;
    case 86:
    case 91:
    case 93:
      return 4;
    case 95:
    case 96:
    case 97:
      return 5;
    case 98:
    case 99:
      return no_class;
    default:
      return code;
  }
}

int64_t class_of_floes(int64_t code) {
  switch (code) {
    case 0:
      return 0;
    case 2:
      return 1;
    case 3:
      return 2;
    case 4:
      return 3;
    case 5:
      return 4;
    case 6:
    case 7:
      return 5;
    case 9:
    case 10:
      return 6;
    case 1:
    case 8:
    case 21:
    case 22:
      return no_class;
    default:
      return code;
  }
}

// The class that makes most of the ice; not_filled where none makes enough.
int64_t dominant(const Three& classes, const Three& concentrations, int64_t total) {
  Three merged = concentrations;
  for (const auto& [first, second] : {std::pair<size_t, size_t>{0, 1}, {0, 2}, {1, 2}})
    if (classes[first] == classes[second] && classes[first] != not_filled)
      merged[first] = concentrations[first] + concentrations[second];
  const auto most = std::max_element(merged.begin(), merged.end());
  if (static_cast<double>(*most) / static_cast<double>(total) < dominates) return not_filled;
  return classes[static_cast<size_t>(most - merged.begin())];
}

uint8_t stored(int64_t number) {
  return static_cast<uint8_t>(number == not_filled || number == unlisted ? no_class : number);
}

}  // namespace

IceCodes IceCodes::parse(const std::string& row) {
  std::vector<std::string> fields(1);
  for (const char c : row) {
    if (c == ';')
      fields.emplace_back();
    else
      fields.back() += c;
  }
  if (fields.size() != 15)
    file_error("polygon codes '" + row + "': " + std::to_string(fields.size()) +
               " fields; 15 are expected");
  const auto number = [&](size_t field) {
    const std::string& text = fields[field];
    int64_t value = 0;
    const auto [at, reason] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (reason != std::errc{} || at != text.data() + text.size())
      file_error("polygon codes '" + row + "': '" + text + "' is no number");
    return value;
  };
  IceCodes codes;
  codes.total = number(1);
  for (size_t kind = 0; kind < 3; kind++) {
    codes.concentration[kind] = number(2 + 3 * kind);
    codes.stage[kind] = number(3 + 3 * kind);
    codes.floes[kind] = number(4 + 3 * kind);
  }
  codes.water = fields[14] == "W";
  return codes;
}

IceClasses classes_of(const IceCodes& codes) {
  const int64_t total = class_of_concentration(codes.total);
  Three concentrations{}, stages{}, floes{};
  for (size_t kind = 0; kind < 3; kind++) {
    concentrations[kind] = class_of_concentration(codes.concentration[kind]);
    stages[kind] = class_of_stage(codes.stage[kind]);
    floes[kind] = class_of_floes(codes.floes[kind]);
  }
  if (total > 0 && concentrations[0] == not_filled) concentrations[0] = total;
  const int64_t sic = codes.water ? 0 : total;
  if (sic == 0) return {0, 0, 0};
  IceClasses classes;
  classes.sic = stored(sic);
  classes.sod = stored(dominant(stages, concentrations, total));
  classes.floe = std::count(floes.begin(), floes.end(), no_class) > 0
                     ? static_cast<uint8_t>(no_class)
                     : stored(dominant(floes, concentrations, total));
  return classes;
}

}  // namespace fulmar::data::scenes
