//! Writes Parquet: typed rows and the whole event as JSON, in row groups.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnPath, Type},
};
use serde_json::value::RawValue;

use super::{
    Sheet,
    row::{self, COLUMNS, Column, EVENT, Holds, Row},
};
use crate::{cli::Error, clock::Timestamp};

/// A row group is written once its buffered values take about this many bytes. This bounds the memory.
const GROUP_BYTES: usize = 32 << 20;
/// A row group is also written once it has this many rows. It can exceed this number, because the rows of one event
/// stay together.
const GROUP_ROWS: usize = 100_000;

/// Collects the rows of a row group and writes it.
pub(super) struct Groups<'a> {
    writer: SerializedFileWriter<&'a mut (dyn Write + Send)>,
    columns: Vec<ColumnBuffer>,
    rows: usize,
    bytes: usize,
}

/// The values of one column in a row group: either numbers or texts.
struct ColumnBuffer {
    column: &'static Column,
    numbers: Vec<i64>,
    texts: Vec<ByteArray>,
    /// The definition levels of an optional column: 1 if the row has a value, else 0.
    levels: Option<Vec<i16>>,
}

impl<'a> Groups<'a> {
    /// Starts a Parquet file.
    pub(super) fn begin(to: &'a mut (dyn Write + Send)) -> Result<Self, Error> {
        let event = ColumnPath::from(EVENT.name);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("bikhook ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // The column of whole events has no dictionary and no statistics, because events do not repeat, and their
            // minimum and maximum are of no use.
            .set_column_dictionary_enabled(event.clone(), false)
            .set_column_statistics_enabled(event, EnabledStatistics::None)
            .build();
        let writer = SerializedFileWriter::new(to, Arc::new(schema().map_err(failed)?), Arc::new(properties))
            .map_err(failed)?;
        Ok(Self { writer, columns: columns().map(ColumnBuffer::new).collect(), rows: 0, bytes: 0 })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(mut column) = group.next_column()? else { break };
            let levels = buffer.levels.as_deref();
            match buffer.column.holds {
                Holds::Number(_) | Holds::Time(_) => {
                    column.typed::<Int64Type>().write_batch(&buffer.numbers, levels, None)?
                }
                Holds::Text(_) => column.typed::<ByteArrayType>().write_batch(&buffer.texts, levels, None)?,
            };
            column.close()?;
            buffer.clear();
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Sheet for Groups<'_> {
    fn take(&mut self, line: &RawValue) -> Result<(), Error> {
        row::each(line, |row| {
            for buffer in &mut self.columns {
                self.bytes += buffer.push(row);
            }
            self.rows += 1;
            Ok(())
        })?;
        if self.bytes >= GROUP_BYTES || self.rows >= GROUP_ROWS {
            self.write_group().map_err(failed)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        if self.rows > 0 {
            self.write_group().map_err(failed)?;
        }
        self.writer.close().map(drop).map_err(failed)
    }
}

impl ColumnBuffer {
    fn new(column: &'static Column) -> Self {
        let levels = (!column.required).then(Vec::new);
        Self { column, numbers: Vec::new(), texts: Vec::new(), levels }
    }

    /// Adds the value of a row. Returns its approximate size in bytes.
    fn push(&mut self, row: &Row<'_>) -> usize {
        let mut bytes = size_of::<i64>();
        let values = self.numbers.len() + self.texts.len();
        match self.column.holds {
            Holds::Number(read) => self.numbers.push(read(row).cast_signed()),
            Holds::Time(read) => self.numbers.extend(read(row).map(Timestamp::as_ms)),
            Holds::Text(read) => {
                if let Some(text) = read(row) {
                    self.texts.push(ByteArray::from(text));
                    bytes = size_of::<ByteArray>() + text.len();
                }
            }
        }
        if let Some(levels) = &mut self.levels {
            levels.push(i16::from(self.numbers.len() + self.texts.len() > values));
        }
        bytes
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.texts.clear();
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
    }
}

fn columns() -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().chain([&EVENT])
}

/// The columns with their types.
fn schema() -> Result<Type, ParquetError> {
    let typed = |column: &Column| {
        let (physical, logical) = match column.holds {
            Holds::Number(_) => (Physical::INT64, None),
            Holds::Time(_) => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Holds::Text(_) if column.name == EVENT.name => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Holds::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = if column.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let builder = Type::primitive_type_builder(column.name, physical).with_logical_type(logical);
        builder.with_repetition(repetition).build().map(Arc::new)
    };
    let fields = columns().map(typed).collect::<Result<_, _>>()?;
    Type::group_type_builder("events").with_fields(fields).build()
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => Error::Output(*error),
            Err(other) => Error::Failed(format!("cannot write Parquet: {other}")),
        },
        other => Error::Failed(format!("cannot write Parquet: {other}")),
    }
}
