#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"

namespace fulmar::keras {

// What an import gives, whatever kind of file it came from.
struct ImportedModel {
  ModelInfo info;
  int64_t trainable = 0, statistics = 0;  // numbers in its weights and running statistics
  std::vector<std::string> notes;         // a sentence each
};

// Before anything is read. Error(usage): `to` is `from` itself, which is "the " + kind;
// Error(file): it can't be written.
void require_place(const std::string& from, const std::string& to, const std::string& kind);

struct MadeModel {
  Model model;
  std::string origin;  // "Keras 2.15.0", kept in the model file
};
// Lets `make` fill in the model's description and make the model, counts its numbers and writes it.
// Errors name `from`, or `to` where it can't be written.
void save_imported(ImportedModel& result, const std::string& from, const std::string& to,
                   const std::function<MadeModel()>& make);

}  // namespace fulmar::keras
