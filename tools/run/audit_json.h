#pragma once

#include <string>

#include "data/audit.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// The JSON that `fulmar check --json` prints and a run's record keeps.
Json audit_json(const data::Audit& audit, const std::string& folder);

}  // namespace fulmar::tools
