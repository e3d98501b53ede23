#pragma once

#include <string>

#include "engine/plan.h"
#include "tools/output.h"

namespace fulmar::tools {

// What runs of a tape, as `info --tape-format` names it: text, graphviz or mermaid.
std::string tape_in(const std::string& format, const Tape& tape, const Plan& plan);

// An object for each node that runs: node, op, scopes, inputs (null: left out; [node, output]),
// outputs (shape, role, type where the role doesn't decide it), attributes.
Json tape_as_json(const Tape& tape, const Plan& plan);

}  // namespace fulmar::tools
