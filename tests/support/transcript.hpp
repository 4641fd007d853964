// Transcripts: test cases as text. A file of tests/transcripts holds blocks, divided by blank lines: a command, what it is given, "----",
// and the recorded answer. Lines that begin with '#' in front of a command are comments.
//
//   run [name=M] [type=EXPRESS] [until=SECONDS] [region=R]
//                       Creates a state machine from the definition below and runs it on the input that follows a line "input" ({}).
//                       Answers with the whole history, an event a line, then how it ended. until=: what is there after that time, ended or
//                       not.
//   mock STATE          The next run's STATE is answered from the responses below, a mock configuration's (docs/testing.md), not by a call.
//   history EXECUTION   Waits (until=, as above) and answers with the history of the execution of an earlier run: E1, E2 … by their order.
//   validate [type=EXPRESS]
//                       The diagnostics of the definition below, or OK.
//   aws SERVICE OPERATION [region=R]
//                       One API call with the request below (members as the API model names them); its answer, or "Code: message".
//   wait SECONDS        Virtual time passes.
//
// What differs from run to run (times, random ids, task tokens) is shown as a placeholder: <time>, <uuid-1>, <token-2>. A later command may
// write a placeholder where it needs the value. Machines are named M1, M2 … by the order of the runs, executions E1, E2 …
// wire.py reads the same files and runs them over the network; both must give the same answers.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace snapward::support {

struct Block {
  std::string before;  // blank lines and comments in front of it, as they stand
  std::size_t line = 0;
  std::string head;  // the command's line
  std::vector<std::string> words;
  std::map<std::string, std::string, std::less<>> options;
  std::string body;                   // each line with its end
  std::optional<std::string> answer;  // as recorded; each line with its end
};

struct Transcript {
  std::vector<Block> blocks;
  std::string after;  // comments behind the last block
};

Result<Transcript> parse_transcript(std::string_view text);
std::string to_text(const Transcript& transcript);

// Runs the blocks in order in a new world. Gives the transcript with the answers of this run; a command that cannot be carried out (an
// unknown service, a definition missing) is an Error that names its line.
Result<Transcript> replay(const Transcript& transcript);

}  // namespace snapward::support
