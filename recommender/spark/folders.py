"""A folder or file as Hadoop knows it: on this machine, or hdfs://... and s3a://..., where Spark has what they need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def place_of(spark: SparkSession, name: str) -> tuple[Any, Any]:
    """Return the file system of a folder or file, and its whole path there."""
    jvm: Any = spark.sparkContext._jvm
    jsc: Any = spark.sparkContext._jsc
    path = jvm.org.apache.hadoop.fs.Path(name if "://" in name else str(Path(name).absolute()))
    files = path.getFileSystem(jsc.hadoopConfiguration())
    return files, files.makeQualified(path)
