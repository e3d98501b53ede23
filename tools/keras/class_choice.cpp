#include "tools/keras/class_choice.h"

#include <algorithm>

#include "kernels/error.h"

namespace fulmar::keras {

std::vector<std::string> class_names(const std::vector<std::string>& given, int64_t count,
                                     std::vector<std::string>& notes) {
  std::vector<std::string> names = given;
  if (names.empty()) {
    for (int64_t k = 0; k < count; k++) names.push_back(std::to_string(k));
    notes.push_back("the file doesn't name its " + std::to_string(count) +
                    " classes: they are 0, 1, ...; --classes names them");
  }
  if (static_cast<int64_t>(names.size()) != count)
    usage_error("--classes names " + std::to_string(names.size()) + " classes, the model has " +
                std::to_string(count));
  return names;
}

int64_t positive_of(const std::optional<std::string>& given,
                    const std::vector<std::string>& classes) {
  const auto place = [&](const std::string& name) {
    return std::find(classes.begin(), classes.end(), name) - classes.begin();
  };
  const auto count = static_cast<int64_t>(classes.size());
  if (given && (count != 2 || place(*given) == count))
    usage_error("--positive " + *given + ": the model has " +
                (count == 2 ? "the classes " + classes[0] + " and " + classes[1]
                            : std::to_string(count) + " classes, not two"));
  if (count != 2) return -1;
  if (given) return place(*given);
  for (const char* usual : {"pos", "positive"})
    if (place(usual) < count) return place(usual);
  return 1;
}

}  // namespace fulmar::keras
