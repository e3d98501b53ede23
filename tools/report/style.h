#pragma once

namespace fulmar::tools {

// The page's style sheet: light and dark, screen, phone and paper. Colours of series are Okabe and
// Ito's, which people with any colour vision tell apart; lines differ by dashes too.
extern const char* const report_style;

}  // namespace fulmar::tools
