// Objects in a bucket. Private to this room.
#pragma once

#include <memory>

#include "storage/blobs/objects.h"
#include "storage/blobs/s3_client.h"

namespace tidemill::blobs {

// Returns the objects of a bucket, under the same names as in a folder (objects.h): PREFIX chunks/<2 hex>/<id> and
// PREFIX blobs/<2 hex>/<id>, so that a folder and a bucket can be copied into each other by any tool.
[[nodiscard]] std::unique_ptr<Objects> s3_objects(std::unique_ptr<S3Client> client);

// As s3_objects, after asking the bucket once; errors as S3Store::create.
[[nodiscard]] Result<std::unique_ptr<Objects>> open_bucket(S3Bucket bucket, const Clock& clock);

}  // namespace tidemill::blobs
