#include "tools/keras/imported_model.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::keras {

void require_place(const std::string& from, const std::string& to, const std::string& kind) {
  std::error_code ignored;
  if (std::filesystem::equivalent(from, to, ignored))
    usage_error(to + " is the " + kind + " itself: choose another place for the model");
  const AtomicFile attempt(to);  // not committed: leaves nothing
}

void save_imported(ImportedModel& result, const std::string& from, const std::string& to,
                   const std::function<MadeModel()>& make) {
  try {
    MadeModel made = make();
    for (const auto& p : made.model.parameters()) result.trainable += p.shape.elements();
    for (const auto& s : made.model.statistics()) result.statistics += s.shape.elements();
    result.info.summary = nlohmann::ordered_json{{"imported_from", made.origin}}.dump();
    save_checkpoint(to, result.info, made.model);
  } catch (const Error& error) {
    const bool of_writing = std::string(error.what()).rfind(to, 0) == 0;
    throw Error(error.kind(), of_writing ? error.what() : from + ": " + error.what());
  }
}

}  // namespace fulmar::keras
