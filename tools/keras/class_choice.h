#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fulmar::keras {

// The names of an imported model's classes: those given, else "0", "1", …, which a note tells.
// Error(usage) where there are not `count`.
std::vector<std::string> class_names(const std::vector<std::string>& given, int64_t count,
                                     std::vector<std::string>& notes);

// Of two classes the one that F1 is about: the one given, else pos or positive, else the second;
// -1 where there are not two. Error(usage) for one that is no class.
int64_t positive_of(const std::optional<std::string>& given,
                    const std::vector<std::string>& classes);

}  // namespace fulmar::keras
