//! Twins, and desired values with their outcome.

use longshore_sqlite::{Connection, SqlError, params};

use longshore_twin::{DesiredRow, TwinBlob};

pub(super) fn all(connection: &Connection) -> Result<Vec<TwinBlob>, SqlError> {
    let mut statement = connection.prepare_cached("SELECT device, data FROM twins")?;
    let rows = statement.query_map([], |row| {
        Ok(TwinBlob {
            device: row.get(0)?,
            data: row.get(1)?,
        })
    })?;
    rows.collect()
}

pub(super) fn save(connection: &Connection, twins: &[TwinBlob]) -> Result<(), SqlError> {
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO twins VALUES (?1, ?2)")?;
    let mut delete = connection.prepare_cached("DELETE FROM twins WHERE device = ?1")?;
    for twin in twins {
        if twin.data.is_empty() {
            delete.execute([&twin.device])?;
        } else {
            put.execute(params![twin.device, twin.data])?;
        }
    }
    Ok(())
}

pub(super) fn desired(connection: &Connection) -> Result<Vec<DesiredRow>, SqlError> {
    let mut statement = connection.prepare_cached("SELECT device, property, json FROM desired")?;
    let rows = statement.query_map([], |row| {
        Ok(DesiredRow {
            device: row.get(0)?,
            property: row.get(1)?,
            json: Some(row.get(2)?),
        })
    })?;
    rows.collect()
}

pub(super) fn save_desired(connection: &Connection, rows: &[DesiredRow]) -> Result<(), SqlError> {
    let mut put =
        connection.prepare_cached("INSERT OR REPLACE INTO desired VALUES (?1, ?2, ?3)")?;
    let mut delete =
        connection.prepare_cached("DELETE FROM desired WHERE device = ?1 AND property = ?2")?;
    for row in rows {
        match &row.json {
            Some(json) => put.execute(params![row.device, row.property, json])?,
            None => delete.execute([&row.device, &row.property])?,
        };
    }
    Ok(())
}
