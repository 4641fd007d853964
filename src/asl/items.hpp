// The items of a distributed Map as its ItemReader reads them: from a listing of objects or from one document. Pure.
// Source: Step Functions Developer Guide, "ItemReader (Map)".
#pragma once
#include "asl/definition.hpp"

namespace snapward::asl {

// answer: of ListObjectsV2 ({"Contents": [{Key, Size, …}]}) or of GetObject ({"Body": text}).
// Fails with States.ItemReaderFailed and a cause that says what the document lacks.
Outcome<Json::Array> read_item_list(const ItemReader& reader, const Json& answer);

}  // namespace snapward::asl
