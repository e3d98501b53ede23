#include "kernels/cuda/choices.h"

#include <cstdio>
#include <sstream>

#include "kernels/error.h"
#include "kernels/fnv1a.h"

namespace fulmar::cuda {
namespace {

constexpr const char* arrow = " => ";
constexpr const char* first_words = "fulmar cuda choices 1: ";

std::string hex(uint64_t value) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

std::string title(size_t count, const std::string& lines) {
  return first_words + std::to_string(count) + ", checksum " + hex(fnv1a(lines));
}

}  // namespace

std::string Choices::find(const std::string& key) const {
  const auto found = choices_.find(key);
  return found == choices_.end() ? std::string() : found->second;
}

void Choices::set(const std::string& key, const std::string& choice) {
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  if (key.empty() || choice.empty() || has(key, "\n") || has(key, arrow) || has(choice, "\n"))
    usage_error("cuda choices: no line can be made of \"" + key + "\" and \"" + choice + "\"");
  choices_[key] = choice;
}

std::string Choices::text() const {
  std::string lines;
  for (const auto& [key, choice] : choices_) lines += key + arrow + choice + "\n";
  return title(choices_.size(), lines) + "\n" + lines;
}

Choices Choices::parse(const std::string& text) {
  const size_t end = text.find('\n');
  if (text.rfind(first_words, 0) != 0 || end == std::string::npos)
    file_error("cuda choices: line 1 should begin with \"" + std::string(first_words) + "\"");
  const std::string lines = text.substr(end + 1);
  Choices choices;
  std::istringstream in(lines);
  std::string line;
  for (size_t number = 2; std::getline(in, line); number++) {
    const size_t at = line.find(arrow);
    const std::string where = "cuda choices: line " + std::to_string(number);
    if (at == std::string::npos || at == 0 || at + 4 == line.size())
      file_error(where + " should be \"key => choice\"");
    if (!choices.choices_.emplace(line.substr(0, at), line.substr(at + 4)).second)
      file_error(where + " repeats an earlier one");
  }
  if (text.substr(0, end) != title(choices.choices_.size(), lines))
    file_error("cuda choices: the lines don't have the count and checksum that line 1 gives: " +
               text.substr(0, end));
  return choices;
}

}  // namespace fulmar::cuda
