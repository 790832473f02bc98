// The command line: `tidemill <noun> <verb> …`, a client of the REST API.
#pragma once

namespace tidemill::cli {

// Parses argv, runs the verb, returns the process's exit code (kExit… in command.h). `server` and hidden verbs are
// handled before this is called.
int main(int argc, char** argv);

}  // namespace tidemill::cli
