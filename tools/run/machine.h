#pragma once

#include <string>

#include "engine/context.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// The machine that a result depends on: device, its hardware and precision; processor (as the
// system names it), instruction set, processors, threads used, memory in bytes.
Json machine_json(Device& device, Context& context);

}  // namespace fulmar::tools
